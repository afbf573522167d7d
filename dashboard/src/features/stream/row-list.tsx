import { memo, useState, type ReactNode } from "react";

import { keyText } from "@/lib/event-key";
import { isFiltering, NO_FILTER } from "@/lib/filter";
import { useConnection } from "@/live/keys";
import type { Row } from "@/live/model";
import { setFilter, useAddress } from "@/state/address";
import { Button } from "@/ui/button";
import { Code } from "@/ui/code";
import { cx } from "@/ui/class-names";
import { Notice, Skeleton } from "@/ui/notice";

import type { History } from "./api";
import { EventRow, GapRow, ROW_HEIGHT } from "./row";

interface RowListProps {
  rows: readonly Row[];
  sampled: boolean;
  history: History;
}

export function RowList({ rows, sampled, history }: RowListProps): ReactNode {
  if (rows.length === 0) return <NoRows history={history} />;
  return <Rows rows={rows} sampled={sampled} />;
}

/** Renders only when the rows change: most updates of the page change only its totals. */
export const Rows = memo(function Rows({ rows, sampled }: Pick<RowListProps, "rows" | "sampled">): ReactNode {
  const { event: opened } = useAddress();
  const openedKey = opened && keyText(opened);
  // Tab reaches one row only; the arrow keys lead to the others.
  const head = useHead(rows);
  const tabbable = (rows.find((row) => row.key === openedKey) ?? rows.find((row) => row.kind === "event"))?.key;
  return (
    <div className={cx("relative contain-content", ROW_HEIGHT)} style={{ height: `calc(var(--row) * ${rows.length})` }}>
      {/* At high rates, highlighting new rows distracts, and painting it is the most expensive part. */}
      <ol
        className="group/rows"
        data-calm={!sampled || undefined}
        style={{ transform: `translateY(calc(var(--row) * ${head}))` }}
      >
        {rows.map((row, index) =>
          row.kind === "gap" ? (
            <GapRow key={row.key} row={row} place={head - index} />
          ) : (
            <EventRow
              key={row.key}
              row={row}
              place={head - index}
              tabbable={row.key === tabbable}
              selected={row.key === openedKey}
            />
          ),
        )}
      </ol>
    </div>
  );
});

/** Positions start over here: browsers compute exact positions up to this value. */
const FARTHEST = 20_000;

/**
 * The position of the first row, counted upwards. A row keeps its position while new rows appear above it, so that
 * the list moves as a whole: the browser lays out no existing row, and React renders none.
 */
function useHead(rows: readonly Row[]): number {
  const [last, setLast] = useState({ rows, head: rows.length });
  if (last.rows === rows) return last.head;
  const fresh = rows.findIndex((row) => row.key === last.rows[0]?.key);
  const moved = fresh >= 0 && rows.slice(fresh).every((row, index) => row.key === last.rows[index]?.key);
  const head = moved && last.head + fresh < FARTHEST ? last.head + fresh : rows.length;
  setLast({ rows, head });
  return head;
}

function NoRows({ history }: { history: History }): ReactNode {
  const { filter } = useAddress();
  const { phase } = useConnection();
  if (history.isPending) {
    return Array.from({ length: 8 }, (_, index) => <Skeleton key={index} className="mx-5 my-3 h-5" />);
  }
  if (history.isError) {
    return (
      <Notice tone="bad" title="Could not load earlier events" onRetry={() => void history.refetch()}>
        {history.error.message} New events still appear here.
      </Notice>
    );
  }
  if (isFiltering(filter)) return <NoMatch />;
  return (
    <Notice title="No events yet">
      {phase === "live" && "Helios is ready to receive events. "}Send some: <Code>python -m scripts.simulator</Code>
    </Notice>
  );
}

function NoMatch(): ReactNode {
  return (
    <Notice title="No matches">
      <p>New matching events appear here. To find older events, enter a complete order ID.</p>
      <Button
        className="mt-3"
        onClick={() => {
          setFilter(NO_FILTER);
        }}
      >
        Clear the filters
      </Button>
    </Notice>
  );
}
