import { memo, type CSSProperties, type ReactNode } from "react";

import { amount, plural, timeOfDay } from "@/lib/format";
import type { EventSummary, Row } from "@/live/model";
import { openEvent } from "@/state/address";
import { Age } from "@/ui/age";
import { SourceBadge } from "@/ui/source-mark";
import { cx } from "@/ui/class-names";

/** Used by the column headings too. */
export const COLUMNS = "sm:grid-cols-[var(--badge,4.75rem)_minmax(8rem,1.2fr)_minmax(9rem,1.4fr)_minmax(5.5rem,0.8fr)_5.5rem_3.5rem]";

/** All rows have the same height, so that a row's position follows from its place alone. */
export const ROW_HEIGHT = "[--row:3.5625rem] sm:[--row:2.5625rem]";

const AT_PLACE = "absolute inset-x-0 h-(--row) border-t border-line";

const positionStyle = (place: number): CSSProperties => ({ top: `calc(var(--row) * -${place})` });

interface EventRowProps {
  row: Extract<Row, { kind: "event" }>;
  /** The row's distance from the bottom, in rows. */
  place: number;
  tabbable: boolean;
  selected: boolean;
}

/** One event; the whole row is a button that opens it. */
export const EventRow = memo(function EventRow({ row, place, tabbable, selected }: EventRowProps): ReactNode {
  const { event } = row;
  return (
    <li className={cx(AT_PLACE, "group-data-[calm]/rows:animate-arrive first:border-t-0")} style={positionStyle(place)}>
      <button
        type="button"
        data-row={row.key}
        tabIndex={tabbable ? 0 : -1}
        aria-current={selected || undefined}
        onClick={() => {
          openEvent(event);
        }}
        className={cx(
          "grid size-full grid-cols-[min(var(--badge,4.25rem),6rem)_1fr_auto] content-center items-center gap-x-3 gap-y-0.5 px-4 text-left text-[13px]",
          "hover:bg-raised focus-visible:-outline-offset-2 aria-[current]:bg-raised sm:px-5",
          COLUMNS,
        )}
      >
        <SourceBadge source={event.source} className="row-span-2 justify-self-start sm:row-span-1" />
        <span className="truncate font-medium">
          {event.type}
          {row.replay !== null && <span className="ml-1.5 text-xs font-normal text-warn">replay {row.replay}</span>}
        </span>
        <Age at={row.receivedAt} className="sm:order-last" />
        <Order event={event} />
        <Cell label="customer" value={event.customer_id} className="hidden text-soft sm:block" />
        <Cell
          label="amount"
          value={event.amount === null ? null : amount(event.amount)}
          className="text-right tabular-nums"
        />
      </button>
    </li>
  );
});

function Order({ event }: { event: EventSummary }): ReactNode {
  return (
    <span className="truncate font-mono text-xs text-soft">
      <span className="sr-only">order </span>
      {event.order_id ?? <span className="text-faint">{event.subject ?? "–"}</span>}
    </span>
  );
}

function Cell({ label, value, className }: { label: string; value: string | null; className: string }): ReactNode {
  return (
    <span className={cx("truncate", className)}>
      <span className="sr-only">{label} </span>
      {value ?? <span className="text-faint">–</span>}
    </span>
  );
}

/** Marks frames that the page missed and cannot fetch. */
export function GapRow({ row, place }: { row: Extract<Row, { kind: "gap" }>; place: number }): ReactNode {
  const what = row.missing === null ? "The stream restarted" : `${plural(row.missing, "frame")} of the stream missed`;
  return (
    <li
      className={cx(AT_PLACE, "flex items-center border-dashed border-warn bg-warn-soft px-4 text-[13px] sm:px-5")}
      style={positionStyle(place)}
    >
      <p className="line-clamp-2 text-soft">
        <strong className="font-semibold text-warn">{what}</strong> at {timeOfDay(row.receivedAt)}. The totals
        include the missed events; this list does not show them.
      </p>
    </li>
  );
}
