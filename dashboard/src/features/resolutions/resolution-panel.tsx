import type { ReactNode } from "react";

import type { FlowInstanceDetails } from "@/api/flows";
import { RESOLUTION_NAMES } from "@/lib/resolutions";
import { Panel } from "@/ui/panel";

import { ActionLine } from "./action-line";
import { useActions } from "./api";
import { StepForm } from "./step-form";

/** What people decided about one order, and the form for the next step. The verdict stays as it is. */
export function ResolutionPanel({ instance }: { instance: FlowInstanceDetails }): ReactNode {
  const { flow, key, resolution } = instance;
  const { data: actions, error } = useActions({ flow, key });
  return (
    <Panel
      title="Resolution"
      aside={<span className="text-[13px] text-soft">{RESOLUTION_NAMES[resolution?.state ?? "unresolved"]}</span>}
    >
      <div className="flex flex-col gap-3 px-4 pb-4 sm:px-5">
        {resolution && (resolution.assignee ?? resolution.reason) && (
          <p className="text-[13px] break-words text-soft">
            {resolution.assignee && `Assigned to ${resolution.assignee}. `}
            {resolution.reason}
          </p>
        )}
        {instance.rebuilt ? (
          <p className="text-[13px] text-soft">The database no longer has this order, so that it can’t be resolved.</p>
        ) : (
          <StepForm target={{ instances: [{ flow, key }], filter: null }} submit={(name) => name} />
        )}
        {error && <p className="text-[13px] text-soft">{error.message}</p>}
        {actions && actions.length > 0 && (
          <ol aria-label="Steps" className="text-[13px]">
            {actions.map((action) => (
              <ActionLine key={action.id} action={action} />
            ))}
          </ol>
        )}
      </div>
    </Panel>
  );
}
