import type { ReactNode } from "react";

import { Button } from "@/ui/button";
import { Dialog } from "@/ui/dialog";
import { Refusal } from "@/ui/refusal";

import { useWithdraw, type FlowVersion } from "./api";

interface WithdrawDialogProps {
  version: FlowVersion;
  onClose: () => void;
}

/** Asks before a flow ends: what happens to its events and to its orders. */
export function WithdrawDialog({ version, onClose }: WithdrawDialogProps): ReactNode {
  const { mutate, isPending, error } = useWithdraw();
  return (
    <Dialog label="Withdraw rules" onClose={onClose} className="m-auto w-[32rem] max-w-[94vw] rounded-xl border p-5 shadow-2xl">
      <div className="flex flex-col gap-3 text-[13px]">
        <h2 className="text-sm font-semibold">
          Withdraw version {version.version} of {version.flow}
        </h2>
        <p className="text-soft">
          The flow ends at once: no process evaluates events by it any more. Its orders stay stored as they are, and are not
          shown. They are evaluated again if a later version is approved, and removed when their retention ends.
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
            End this flow
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
