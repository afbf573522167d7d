import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";

import { flowInstanceQuery } from "@/api/flows";
import type { Schemas } from "@/api/http";
import { sentence } from "@/lib/flows";
import { plural } from "@/lib/format";
import { toFlowInstance, type FlowInstanceKey } from "@/state/address";
import { Link } from "@/ui/link";
import { StatusBadge } from "@/ui/status-badge";

interface VerdictProps {
  event: Schemas["Event"];
  instance: FlowInstanceKey;
  /** Name the flow, because the event belongs to several. */
  named: boolean;
}

/** The status of the flow instance that an event belongs to. */
export function Verdict({ event, instance, named }: VerdictProps): ReactNode {
  const { data } = useQuery(flowInstanceQuery(instance.flow, instance.key));
  const issue = data?.issues[0];
  const deliveries = data?.legs.find((leg) => leg.source === event.source && leg.producer === event.producer && leg.event_id === event.id)?.deliveries ?? 1;
  return (
    <div className="mb-1 last:mb-0">
      <span className="flex flex-wrap items-center gap-x-3 gap-y-1">
        {data && <StatusBadge status={data.status} />}
        <Link to={toFlowInstance(instance)} className="py-1 text-accent underline underline-offset-2">
          {named ? `Show in the ${instance.flow} flow` : "Show reconciliation"}
        </Link>
      </span>
      {issue && <span className="mt-1 block text-xs leading-4.5 text-soft">{sentence(issue.detail)}</span>}
      {deliveries > 1 && <span className="mt-1 block text-xs text-warn">Delivered {plural(deliveries, "time")}</span>}
    </div>
  );
}
