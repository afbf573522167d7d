import { useRef, type KeyboardEvent, type ReactNode } from "react";

import { moveFocus, ROWS_ID } from "@/lib/row-focus";
import { useBrowsing } from "@/lib/use-browsing";
import { useAddress } from "@/state/address";
import { useView } from "@/state/view";
import { cx } from "@/ui/class-names";
import { Panel } from "@/ui/panel";

import { Controls } from "./controls";
import { COLUMNS } from "./row";
import { RowList } from "./row-list";
import { ReplayThese, Stored } from "./stored";
import { Toolbar } from "./toolbar";
import { useRows } from "./use-rows";

/** Live events, or the events of a selected period. */
export function EventStream(): ReactNode {
  const { period, from, to } = useAddress().time;
  return (period ?? from ?? to) === null ? <Live /> : <Chosen />;
}

function Chosen(): ReactNode {
  return (
    <Panel title="Stored events" aside={<ReplayThese />}>
      <Toolbar />
      <Headings />
      <Stored />
      <p className="border-t border-line px-4 py-2 text-xs text-faint sm:px-5">
        Newest first. Select Live to show new events.
      </p>
    </Panel>
  );
}

/** The latest events, newest first. Rows are held while the viewer pauses, or works with them. */
function Live(): ReactNode {
  const { paused, setPaused } = useView();
  const { browsing, stop, handlers } = useBrowsing();
  const list = useRef<HTMLDivElement>(null);
  const { rows, waiting, atLeast, sampled, history } = useRows(paused || browsing);

  const resume = (): void => {
    setPaused(false);
    stop();
    list.current?.scrollTo({ top: 0 });
    const { activeElement } = document;
    if (activeElement instanceof HTMLElement && list.current?.contains(activeElement)) activeElement.blur();
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === "Escape") resume();
    else if (moveFocus(event.key)) event.preventDefault();
  };

  return (
    <Panel
      title="Live events"
      aside={<Controls paused={paused} browsing={browsing} waiting={waiting} atLeast={atLeast} onResume={resume} />}
    >
      <Toolbar />
      <Headings />
      {/* The rows are the controls; their container only moves the focus between them. */}
      {/* eslint-disable-next-line jsx-a11y/no-static-element-interactions */}
      <div
        ref={list}
        id={ROWS_ID}
        onKeyDown={onKeyDown}
        {...handlers}
        className="relative h-[70vh] min-h-80 overflow-y-auto overscroll-contain border-t border-line sm:h-[34rem] sm:border-t-0"
      >
        <RowList rows={rows} sampled={sampled} history={history} />
      </div>
      <p className="border-t border-line px-4 py-2 text-xs text-faint sm:px-5">
        {sampled
          ? "Events arrive too fast to read: the list shows a sample, the totals count every event."
          : "The last 100 events, newest first."}
      </p>
    </Panel>
  );
}

function Headings(): ReactNode {
  return (
    <div
      aria-hidden
      className={cx(
        "hidden gap-x-3 border-y border-line px-5 py-1.5 text-[11px] font-medium text-faint sm:grid",
        COLUMNS,
      )}
    >
      <span>Source</span>
      <span>Type</span>
      <span>Order</span>
      <span>Customer</span>
      <span className="text-right">Amount</span>
      <span className="text-right">Age</span>
    </div>
  );
}
