import type { ReactNode } from "react";

import { FlowInstancePage } from "@/features/flow-instance/flow-instance-page";
import { RecoveryPanel } from "@/features/recoveries/recovery-panel";
import { ResolutionPanel } from "@/features/resolutions/resolution-panel";
import type { FlowInstanceKey } from "@/state/address";

/** The page of an order, with what people do about it. */
export default function OrderPage({ instanceKey }: { instanceKey: FlowInstanceKey }): ReactNode {
  return (
    <FlowInstancePage
      instanceKey={instanceKey}
      actions={(instance) => (
        <>
          <RecoveryPanel instance={instance} />
          <ResolutionPanel instance={instance} />
        </>
      )}
    />
  );
}
