import type { ReactNode } from "react";

import { useWithdraw, type FlowVersion } from "./api";
import { ConfirmDialog } from "./confirm-dialog";

interface WithdrawDialogProps {
  version: FlowVersion;
  onClose: () => void;
}

/** Asks before a flow ends: what happens to its events and to its orders. */
export function WithdrawDialog({ version, onClose }: WithdrawDialogProps): ReactNode {
  return (
    <ConfirmDialog verb="Withdraw" version={version} change={useWithdraw()} confirm="End this flow" onClose={onClose}>
      <p className="text-soft">
        The flow ends at once: no process evaluates events by it any more. Its orders stay stored as they are, and are not
        shown. They are evaluated again if a later version is approved, and removed when their retention ends.
      </p>
    </ConfirmDialog>
  );
}
