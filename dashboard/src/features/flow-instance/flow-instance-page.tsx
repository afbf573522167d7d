import { useEffect, useRef, type ReactNode } from "react";

import type { FlowInstanceDetails } from "@/api/flows";
import { ApiError } from "@/api/http";
import { amount, secondsUntil, span, timeOfDay } from "@/lib/format";
import { useNow } from "@/lib/use-now";
import { toView, type FlowInstanceKey } from "@/state/address";
import { Icon } from "@/ui/icons";
import { Link } from "@/ui/link";
import { Notice, Skeleton } from "@/ui/notice";
import { Panel } from "@/ui/panel";
import { StatusBadge } from "@/ui/status-badge";
import { TraceLink } from "@/ui/trace-link";

import { useFlowInstance } from "./api";
import { Comparison } from "./comparison";
import { Issues } from "./issues";
import { LegTrack } from "./leg-track";
import { Timeline } from "./timeline";

/** What is done about an order. */
type Actions = (instance: FlowInstanceDetails) => ReactNode;

/** What each source sent for one order, and when; beside it, what is done about the order. */
export function FlowInstancePage({ instanceKey, actions }: { instanceKey: FlowInstanceKey; actions: Actions }): ReactNode {
  const { data: instance, error, refetch } = useFlowInstance(instanceKey);
  return (
    <>
      <Title instanceKey={instanceKey} instance={instance} />
      {instance ? (
        <Instance instance={instance} actions={actions} />
      ) : error instanceof ApiError && error.status === 404 ? (
        <Notice title="Order not found">No source has sent an event for this order, or the address is wrong.</Notice>
      ) : error ? (
        <Notice tone="bad" title="Could not load the order" onRetry={() => void refetch()}>
          {error.message}
        </Notice>
      ) : (
        <Skeleton className="h-96" />
      )}
    </>
  );
}

function Title({ instanceKey, instance }: { instanceKey: FlowInstanceKey; instance: FlowInstanceDetails | undefined }): ReactNode {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    // Opening the page must move the focus to it, for keyboards and screen readers.
    window.scrollTo({ top: 0 });
    heading.current?.focus({ preventScroll: true });
  }, []);
  return (
    <div className="px-1">
      <Link
        to={toView("reconciliation")}
        className="inline-flex h-8 items-center gap-1.5 text-[13px] text-soft hover:text-ink"
      >
        <Icon name="back" className="size-3.5" />
        All orders
      </Link>
      <div className="mt-1 flex flex-wrap items-center gap-x-3 gap-y-2">
        <h2
          ref={heading}
          tabIndex={-1}
          className="text-xl font-semibold tracking-tight break-all focus-visible:outline-none"
        >
          <span className="sr-only">{instanceKey.flow} </span>
          {instanceKey.key}
        </h2>
        {instance && <StatusBadge status={instance.status} />}
        {instance?.amount && <span className="text-[15px] font-medium tabular-nums">{amount(instance.amount)}</span>}
      </div>
      <p className="mt-1 min-h-5 text-[13px] text-soft tabular-nums">
        {instance && <Progress instance={instance} />}
        {instance?.rebuilt && " Read from the archive: the database no longer has this order."}
      </p>
      {instance && <Traces instance={instance} />}
    </div>
  );
}

/** The traces in which the events of the order were sent: usually one, from all sources. */
function Traces({ instance }: { instance: FlowInstanceDetails }): ReactNode {
  const traces = new Map(instance.events.flatMap(({ trace }) => (trace ? [[trace.id, trace] as const] : [])));
  if (traces.size === 0) return null;
  return (
    <ul aria-label="Traces" className="mt-1 flex flex-wrap gap-x-4 text-[13px] text-soft">
      {[...traces.values()].map((trace) => (
        <li key={trace.id}>
          Trace <TraceLink trace={trace} />
        </li>
      ))}
    </ul>
  );
}

/** How long the order took, or how much time it has left. */
function Progress({ instance }: { instance: FlowInstanceDetails }): ReactNode {
  const now = useNow();
  const opened = Date.parse(instance.opened_at);
  const start = `First event at ${timeOfDay(opened)}`;
  if (instance.time_to_match_seconds !== null) {
    return `${start}; complete ${span(instance.time_to_match_seconds * 1000)} later.`;
  }
  if (instance.settled_at !== null) return `${start}; settled ${span(Date.parse(instance.settled_at) - opened)} later.`;
  const deadline = Date.parse(instance.deadline);
  if (now < deadline) return `${start}; incomplete in ${secondsUntil(deadline, now)} s unless all legs arrive.`;
  return `${start}; the deadline has passed. The next sweep settles the order.`;
}

function Instance({ instance, actions }: { instance: FlowInstanceDetails; actions: Actions }): ReactNode {
  return (
    <div className="grid grid-cols-1 gap-3 sm:gap-4 xl:grid-cols-3">
      <div className="flex min-w-0 flex-col gap-3 sm:gap-4 xl:col-span-2">
        <Issues instance={instance} />
        <Panel title="Timeline by source">
          <LegTrack instance={instance} />
        </Panel>
        <Panel title="Values by source">
          <Comparison instance={instance} />
        </Panel>
      </div>
      <div className="flex min-w-0 flex-col gap-3 self-start sm:gap-4">
        {actions(instance)}
        <Panel title="History">
          <Timeline moments={instance.timeline} />
        </Panel>
      </div>
    </div>
  );
}
