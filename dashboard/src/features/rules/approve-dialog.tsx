import type { ReactNode } from "react";

import { count } from "@/lib/format";
import { Button } from "@/ui/button";
import { Dialog } from "@/ui/dialog";
import { Refusal } from "@/ui/refusal";

import { useApprove, type FlowPreview, type FlowVersion } from "./api";
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
  const { mutate, isPending, error } = useApprove();
  const changed = preview?.changes.reduce((sum, { estimated }) => sum + estimated, 0);
  return (
    <Dialog label="Approve rules" onClose={onClose} className="m-auto w-[44rem] max-w-[94vw] rounded-xl border p-5 shadow-2xl">
      <div className="flex flex-col gap-3 text-[13px]">
        <h2 className="text-sm font-semibold">
          Approve version {version.version} of {version.flow}
        </h2>
        {inForce !== null && <Diff before={inForce} after={version.text} />}
        <p className="text-soft">
          Every process evaluates new events by this version at once. Helios then evaluates the stored orders again;
          until it has finished, they show their verdicts so far.
          {changed !== undefined && ` By the preview, about ${count(changed)} verdicts of the last 30 days change.`}
        </p>
        {error && <Refusal error={error} scope="rules" />}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button
            look="filled"
            disabled={isPending}
            onClick={() => {
              mutate(version, { onSuccess: onClose });
            }}
          >
            Put in force
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
