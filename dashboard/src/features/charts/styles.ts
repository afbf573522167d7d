/** The colour of each cloud, and a stroke or pattern that distinguishes it without colour. */
import type { Source } from "@/lib/clouds";

export const FILL: Record<Source, string> = {
  aws: "var(--color-aws)",
  gcp: "var(--color-gcp)",
  azure: "var(--color-azure)",
};

export const LINE: Record<Source, string> = {
  aws: "var(--color-aws-line)",
  gcp: "var(--color-gcp-line)",
  azure: "var(--color-azure-line)",
};

export const DASHES: Record<Source, string> = { aws: "none", gcp: "7 3", azure: "2 3" };
