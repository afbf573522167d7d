/** The three clouds, in display order. */

export const SOURCES = ["aws", "gcp", "azure"] as const;
export type Source = (typeof SOURCES)[number];

export const CLOUD_NAMES: Record<Source, string> = { aws: "AWS", gcp: "GCP", azure: "Azure" };

export function isSource(text: unknown): text is Source {
  return SOURCES.includes(text as Source);
}

/** A record with one value per cloud. */
export function perSource<T>(make: (source: Source) => T): Record<Source, T> {
  return { aws: make("aws"), gcp: make("gcp"), azure: make("azure") };
}
