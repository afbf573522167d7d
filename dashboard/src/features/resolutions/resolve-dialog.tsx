import { useState, type ReactNode } from "react";

import { count } from "@/lib/format";
import { boundsOf, statusesOf } from "@/lib/flows";
import { serverNow } from "@/lib/server-clock";
import type { FlowFilter } from "@/state/address";
import { Skeleton } from "@/ui/notice";
import { Refusal } from "@/ui/refusal";
import { TitledDialog } from "@/ui/titled-dialog";

import { ActionLine } from "./action-line";
import { useDryRun, type ResolutionAction, type ResolutionRequest } from "./api";
import { StepForm } from "./step-form";

interface ResolveDialogProps {
  filter: FlowFilter;
  onClose: () => void;
}

/** Takes one step for all orders that match the filter of the table. */
export default function ResolveDialog({ filter, onClose }: ResolveDialogProps): ReactNode {
  // The bounds must not move with the clock while the dialog is open.
  const [selected] = useState(() => targetOf(filter, serverNow()));
  const [done, setDone] = useState<ResolutionAction | null>(null);
  return (
    <TitledDialog title="Resolve orders" onClose={onClose}>
      <div className="px-5 pt-2 pb-5">
        {done ? (
          <ol role="status" className="text-[13px]">
            <ActionLine action={done} />
          </ol>
        ) : (
          <Form target={selected} onDone={setDone} />
        )}
      </div>
    </TitledDialog>
  );
}

function Form({ target, onDone }: { target: ResolutionRequest["filter"]; onDone: (action: ResolutionAction) => void }): ReactNode {
  const { data, error } = useDryRun(target);
  if (error) return <Refusal error={error} scope="resolve" />;
  if (!data) return <Skeleton className="h-24" />;
  return (
    <>
      <p className="mb-3 text-[13px] text-soft">
        The step concerns all {count(data.instances)} orders that match the filter. One click undoes it.
      </p>
      <StepForm
        target={{ instances: null, filter: target }}
        submit={(name) => `${name}: ${count(data.instances)} orders`}
        onDone={onDone}
      />
    </>
  );
}

function targetOf({ flow, period, from, to, show, issue, key, resolution, assignee }: FlowFilter, now: number): ResolutionRequest["filter"] {
  return {
    flow,
    status: [...statusesOf(show)],
    issue: issue ? [issue] : [],
    key: key || null,
    resolution: resolution ? [resolution] : [],
    assignee,
    ...boundsOf({ period, from, to }, now),
  };
}
