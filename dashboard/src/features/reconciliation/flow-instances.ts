/** The list of flow instances, page by page. The list refetches when the stream reports a relevant change. */
import { keepPreviousData, useInfiniteQuery, type UseInfiniteQueryResult } from "@tanstack/react-query";
import { useEffect } from "react";

import type { FlowPage, FlowInstance } from "@/api/flows";
import { apiUrl, get } from "@/api/http";
import { boundsOf, STATUSES, statusesOf } from "@/lib/flows";
import { serverNow } from "@/lib/server-clock";
import type { LiveFlows } from "@/live/flows";
import { useFlows } from "@/live/keys";
import { useLiveClient } from "@/live/provider";
import type { FlowFilter } from "@/state/address";

const PAGE = 50;
/** The shortest pause between two requests, however fast the orders change. */
const PAUSE_MS = 2000;

interface Listing {
  rows: FlowInstance[];
  pages: number;
  /** The status counts of the stream when the first page arrived. */
  counts: LiveFlows | undefined;
}

interface FlowInstanceList {
  query: UseInfiniteQueryResult<Listing>;
  /** Matching orders have changed, but the rows are held and do not show it. */
  changed: boolean;
}

/** @param held keep the rows as they are. Rows are also held once there is more than one page. */
export function useFlowInstances(filter: FlowFilter, held: boolean): FlowInstanceList {
  const live = useFlows();
  const query = useFlowInstancePages(filter);
  const { data, isFetching, refetch, dataUpdatedAt, errorUpdatedAt } = query;
  const stale = data?.counts !== undefined && differs(live, data.counts, filter);
  const follows = !held && data?.pages === 1;

  useEffect(() => {
    if (!stale || !follows || isFetching) return;
    const due = Math.max(dataUpdatedAt, errorUpdatedAt) + PAUSE_MS;
    const timer = setTimeout(() => void refetch(), Math.max(0, due - Date.now()));
    return () => {
      clearTimeout(timer);
    };
  }, [stale, follows, isFetching, refetch, dataUpdatedAt, errorUpdatedAt]);

  return { query, changed: stale && !follows };
}

function useFlowInstancePages({ flow, period, from, to, show, issue, resolution, assignee, key }: FlowFilter): UseInfiniteQueryResult<Listing> {
  const client = useLiveClient();
  return useInfiniteQuery({
    queryKey: ["flows", flow, period, from, to, show, issue, resolution, assignee, key],
    queryFn: async ({ pageParam, signal }) => {
      const bounds = boundsOf({ period, from, to }, serverNow());
      const filter = { flow, status: statusesOf(show), issue, resolution, assignee, key, ...bounds };
      const query = { ...filter, after: pageParam, limit: PAGE };
      const page = await get<FlowPage>(apiUrl("/api/v1/flows", query), signal);
      return { ...page, counts: client.flows() };
    },
    initialPageParam: "",
    getNextPageParam: (page) => page.next_cursor,
    select: ({ pages }): Listing => ({
      rows: pages.flatMap((page) => page.items),
      pages: pages.length,
      counts: pages[0]?.counts,
    }),
    placeholderData: keepPreviousData,
    // Held rows must not move when the window gets the focus.
    refetchOnWindowFocus: false,
  });
}

/**
 * Whether an order entered or left the selection. With a filter on issues every change counts: an issue can change
 * while the status stays.
 */
function differs(now: LiveFlows, before: LiveFlows, filter: FlowFilter): boolean {
  return filter.issue === null ? signature(now, filter) !== signature(before, filter) : now.changes !== before.changes;
}

/** A text that changes when an order enters or leaves a selected status. */
function signature({ statuses }: LiveFlows, { flow, show }: FlowFilter): string {
  const shown = show === "all" ? STATUSES : statusesOf(show);
  return Object.entries(statuses)
    .filter(([name]) => flow === null || name === flow)
    .flatMap(([, byStatus]) => shown.map((status) => byStatus[status]))
    .join();
}
