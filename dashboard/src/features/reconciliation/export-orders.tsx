import { useMutation } from "@tanstack/react-query";
import type { ReactNode } from "react";

import type { FlowInstance, FlowPage } from "@/api/flows";
import { apiUrl, get } from "@/api/http";
import { download } from "@/lib/download";
import { boundsOf, statusesOf } from "@/lib/flows";
import { count } from "@/lib/format";
import { serverNow } from "@/lib/server-clock";
import type { FlowFilter } from "@/state/address";
import { Button } from "@/ui/button";

const PAGE = 500;
/** As many as one action resolves. */
const MOST = 10_000;

const COLUMNS: Record<string, (row: FlowInstance) => string | number | null> = {
  flow: ({ flow }) => flow,
  key: ({ key }) => key,
  status: ({ status }) => status,
  amount: ({ amount }) => amount,
  currency: ({ currency }) => currency,
  opened_at: (row) => row.opened_at,
  settled_at: (row) => row.settled_at,
  issues: ({ issues }) => issues.map(({ detail }) => detail).join("; "),
  resolution: ({ resolution }) => resolution?.state ?? "unresolved",
  reason: ({ resolution }) => resolution?.reason ?? null,
  assignee: ({ resolution }) => resolution?.assignee ?? null,
};

/** Saves the orders that match the filter as CSV. */
export function ExportOrders({ filter }: { filter: FlowFilter }): ReactNode {
  const { mutate, data, isPending, error } = useMutation({ mutationFn: () => rowsOf(filter), onSuccess: save });
  return (
    <>
      {error && (
        <span role="alert" className="self-center text-[13px] text-bad">
          {error.message}
        </span>
      )}
      {data?.isPart && (
        <span role="status" className="self-center text-[13px] text-soft">
          The file has the newest {count(MOST)} orders.
        </span>
      )}
      <Button
        disabled={isPending}
        onClick={() => {
          mutate();
        }}
      >
        {isPending ? "Exporting" : "Export CSV"}
      </Button>
    </>
  );
}

interface Rows {
  rows: FlowInstance[];
  /** More orders match. */
  isPart: boolean;
}

async function rowsOf({ flow, period, from, to, show, issue, resolution, assignee, key }: FlowFilter): Promise<Rows> {
  const bounds = boundsOf({ period, from, to }, serverNow());
  const query = { flow, status: statusesOf(show), issue, resolution, assignee, key, ...bounds, limit: PAGE };
  const rows: FlowInstance[] = [];
  let after: string | null = null;
  do {
    const page: FlowPage = await get<FlowPage>(apiUrl("/api/v1/flows", { ...query, after }));
    rows.push(...page.items);
    after = page.next_cursor;
  } while (after !== null && rows.length < MOST);
  return { rows, isPart: after !== null };
}

async function save({ rows }: Rows): Promise<void> {
  const { csvLine } = await import("@/lib/csv"); // late: few viewers save a file
  const lines = rows.map((row) => csvLine(Object.values(COLUMNS).map((value) => value(row))));
  download([csvLine(Object.keys(COLUMNS)), ...lines].join(""), "orders.csv", "text/csv");
}
