import type { ReactNode } from "react";

import { Button } from "@/ui/button";
import { Dialog } from "@/ui/dialog";
import { Refusal } from "@/ui/refusal";

import type { FlowVersion, useApprove } from "./api";

interface ConfirmDialogProps {
  /** What happens to the version: `Approve`, `Withdraw`. */
  verb: string;
  version: FlowVersion;
  /** The change that the viewer confirms. */
  change: ReturnType<typeof useApprove>;
  /** The label of the button that makes the change. */
  confirm: string;
  onClose: () => void;
  children: ReactNode;
}

/** Asks before a version is changed. It closes when the change is made, and shows why the API refuses it. */
export function ConfirmDialog({ verb, version, change, confirm, onClose, children }: ConfirmDialogProps): ReactNode {
  const { mutate, isPending, error } = change;
  return (
    <Dialog
      label={`${verb} rules`}
      onClose={onClose}
      className="m-auto w-[44rem] max-w-[94vw] rounded-xl border p-5 shadow-2xl"
    >
      <div className="flex flex-col gap-3 text-[13px]">
        <h2 className="text-sm font-semibold break-words">
          {verb} version {version.version} of {version.flow}
        </h2>
        {children}
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
            {confirm}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
