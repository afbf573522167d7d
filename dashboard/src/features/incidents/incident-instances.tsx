import type { ReactNode } from "react";

import { toFlowInstance } from "@/state/address";
import { Link } from "@/ui/link";
import { Notice, Skeleton } from "@/ui/notice";
import { StatusBadge } from "@/ui/status-badge";

import { useIncidentInstances } from "./api";

/** The last orders that an incident counts, as links to their pages. */
export function IncidentInstances({ id }: { id: number }): ReactNode {
  const { data, error, refetch } = useIncidentInstances(id);
  if (error && !data) {
    return (
      <Notice tone="bad" title="Could not load the orders" onRetry={() => void refetch()}>
        {error.message}
      </Notice>
    );
  }
  if (!data) return <Skeleton className="mt-2 h-16" />;
  return (
    <ul className="mt-2 flex flex-col rounded-lg border border-line">
      {data.items.map((row) => (
        <li key={`${row.flow}/${row.key}`} className="border-t border-line first:border-t-0">
          <Link to={toFlowInstance(row)} className="flex min-h-9 flex-wrap items-center gap-x-3 px-3 hover:bg-raised">
            <span className="font-mono text-xs">{row.key}</span>
            <StatusBadge status={row.status} />
            <span className="min-w-0 truncate text-soft">{row.issues[0]?.detail}</span>
          </Link>
        </li>
      ))}
      {data.next_cursor && <li className="border-t border-line px-3 py-2 text-xs text-faint">and earlier ones</li>}
    </ul>
  );
}
