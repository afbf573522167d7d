import type { KeyboardEvent, ReactNode } from "react";

import { boundsOf } from "@/lib/flows";
import { moveFocus, ROWS_ID } from "@/lib/row-focus";
import { serverNow } from "@/lib/server-clock";
import { useAddress } from "@/state/address";
import { useView } from "@/state/view";
import { Button } from "@/ui/button";
import { Icon } from "@/ui/icons";
import { Notice, Skeleton } from "@/ui/notice";

import { useStored } from "./api";
import { Rows } from "./row-list";

/** The events of a selected period. The list does not move. */
export function Stored(): ReactNode {
  const { filter, time } = useAddress();
  const query = useStored(filter, time);
  const { data, error, isPending, hasNextPage, isFetchingNextPage } = query;
  const onKeyDown = (event: KeyboardEvent): void => {
    if (moveFocus(event.key)) event.preventDefault();
  };
  return (
    // The rows are the controls; their container only moves the focus between them.
    // eslint-disable-next-line jsx-a11y/no-static-element-interactions
    <div
      id={ROWS_ID}
      onKeyDown={onKeyDown}
      className="relative h-[70vh] min-h-80 overflow-y-auto border-t border-line sm:h-[34rem] sm:border-t-0"
    >
      {data && data.length > 0 ? (
        <Rows rows={data} sampled />
      ) : isPending ? (
        Array.from({ length: 8 }, (_, index) => <Skeleton key={index} className="mx-5 my-3 h-5" />)
      ) : error ? (
        <Notice tone="bad" title="Could not load the events" onRetry={() => void query.refetch()}>
          {error.message}
        </Notice>
      ) : (
        <Notice title="No matches">
          {filter.text ? "In a selected period, the search finds complete order IDs only." : "Helios received no event in this period."}
        </Notice>
      )}
      {hasNextPage && (
        <div className="border-t border-line p-3 text-center">
          <Button disabled={isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
            {isFetchingNextPage ? "Loading" : "Show more"}
          </Button>
        </div>
      )}
    </div>
  );
}

/** Replays the listed events. */
export function ReplayThese(): ReactNode {
  const { filter, time } = useAddress();
  const { source, type, text } = filter;
  const { openReplay } = useView();
  return (
    <Button
      onClick={() => {
        openReplay({ what: "events", filter: { source, type, order_id: text || null, ...boundsOf(time, serverNow()) } });
      }}
    >
      <Icon name="replay" className="size-3.5" />
      Replay these events
    </Button>
  );
}
