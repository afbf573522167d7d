import type { ReactNode } from "react";

import { count } from "@/lib/format";

import { useApprove, type FlowPreview, type FlowVersion } from "./api";
import { ConfirmDialog } from "./confirm-dialog";
import { Diff } from "./diff";

interface ApproveDialogProps {
  version: FlowVersion;
  /** The text of the rules in force; null if there are none. */
  inForce: string | null;
  /** The preview on this page; null if another one was made. */
  preview: FlowPreview | null;
  onClose: () => void;
}

/** Asks before a version is put in force: what it changes in the text, and what happens to the orders. */
export function ApproveDialog({ version, inForce, preview, onClose }: ApproveDialogProps): ReactNode {
  const changed = preview?.changes.reduce((sum, { estimated }) => sum + estimated, 0);
  return (
    <ConfirmDialog verb="Approve" version={version} change={useApprove()} confirm="Put in force" onClose={onClose}>
      {inForce !== null && <Diff before={inForce} after={version.text} />}
      <p className="text-soft">
        Every process evaluates new events by this version at once. Helios then evaluates the stored orders again;
        until it has finished, they show their verdicts so far.
        {changed !== undefined && ` By the preview, about ${count(changed)} verdicts of the last 30 days change.`}
      </p>
    </ConfirmDialog>
  );
}
