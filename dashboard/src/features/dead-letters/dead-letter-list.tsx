import type { KeyboardEvent, ReactNode } from "react";

import { moveFocus, ROWS_ID } from "@/lib/row-focus";
import { setDeadLetterFilter, useAddress } from "@/state/address";
import { Button } from "@/ui/button";
import { cx } from "@/ui/class-names";
import { Notice, Skeleton } from "@/ui/notice";

import { useDeadLetters } from "./api";
import { COLUMNS, DeadLetterRow } from "./dead-letter-row";

/** The dead letters that match the filter, last received first. */
export function DeadLetterList(): ReactNode {
  const { deadLetters: filter, deadLetter } = useAddress();
  const query = useDeadLetters(filter);
  const { data, error, hasNextPage, isFetchingNextPage, isPlaceholderData } = query;
  const onKeyDown = (event: KeyboardEvent): void => {
    if (moveFocus(event.key)) event.preventDefault();
  };
  return (
    <>
      <Headings />
      {/* The rows are the controls; their container only moves the focus between them. */}
      {/* eslint-disable-next-line jsx-a11y/no-static-element-interactions */}
      <div id={ROWS_ID} onKeyDown={onKeyDown} aria-busy={isPlaceholderData}>
        {data && data.length > 0 ? (
          <ol className={cx(isPlaceholderData && "opacity-60")}>
            {data.map((each) => (
              <DeadLetterRow key={each.id} deadLetter={each} selected={each.id === deadLetter} />
            ))}
          </ol>
        ) : (
          <NoRows error={data ? null : error} pending={query.isPending} onRetry={() => void query.refetch()} />
        )}
      </div>
      {hasNextPage && (
        <div className="border-t border-line p-3 text-center">
          <Button disabled={isFetchingNextPage || isPlaceholderData} onClick={() => void query.fetchNextPage()}>
            {isFetchingNextPage ? "Loading" : "Show more"}
          </Button>
        </div>
      )}
    </>
  );
}

function Headings(): ReactNode {
  return (
    <div
      aria-hidden
      className={cx("hidden border-y border-line px-5 py-1.5 text-[11px] font-medium text-faint lg:grid", COLUMNS)}
    >
      <span>Source</span>
      <span>Status</span>
      <span>Reason</span>
      <span>Replayed</span>
      <span className="text-right">Attempts</span>
      <span className="text-right">Age</span>
    </div>
  );
}

interface NoRowsProps {
  error: Error | null;
  pending: boolean;
  onRetry: () => void;
}

function NoRows({ error, pending, onRetry }: NoRowsProps): ReactNode {
  const { cloud, status, field, reason, replayed } = useAddress().deadLetters;
  if (pending) return <Skeleton className="mx-5 my-3 h-dvh" />;
  if (error) {
    return (
      <Notice tone="bad" title="Could not load the dead letters" onRetry={onRetry}>
        {error.message}
      </Notice>
    );
  }
  if (!(cloud ?? status ?? field ?? reason ?? replayed)) {
    return (
      <Notice title="No dead letters">
        In this period, every delivery was valid, and none contradicted a stored event.
      </Notice>
    );
  }
  return (
    <Notice title="No matches">
      <Button
        className="mt-1"
        onClick={() => {
          setDeadLetterFilter({ cloud: null, status: null, field: null, reason: null, replayed: null });
        }}
      >
        Clear the filters
      </Button>
    </Notice>
  );
}
