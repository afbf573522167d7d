import type { ReactNode } from "react";

import type { Moment } from "@/api/flows";
import { isSource } from "@/lib/sources";
import { sentence } from "@/lib/flows";
import { span } from "@/lib/format";
import { toEvent } from "@/state/address";
import { cx } from "@/ui/class-names";
import { SourceMark } from "@/ui/source-mark";
import { Link } from "@/ui/link";

const clock = new Intl.DateTimeFormat("en", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
  hourCycle: "h23",
});

const NAMES: Record<Moment["what"], string> = {
  opened: "Opened",
  leg: "Leg received",
  duplicate: "Duplicate received",
  contradictory: "Contradiction received",
  deadline: "Deadline",
  verdict: "Verdict",
};

const COLORS: Partial<Record<Moment["what"], string>> = {
  contradictory: "text-bad",
  deadline: "text-warn",
};

/** The history of the order, by the clock of Helios. */
export function Timeline({ moments }: { moments: readonly Moment[] }): ReactNode {
  const first = moments[0] ? Date.parse(moments[0].at) : 0;
  return (
    <ol className="px-4 pb-4 sm:px-5">
      {moments.map((moment, index) => (
        // Several steps can share a time; the index is a stable key because a timeline only grows.
        <li key={index} className="relative flex gap-3 pb-4 text-[13px] last:pb-0">
          <Stop moment={moment} last={index === moments.length - 1} />
          <div className="min-w-0 flex-1">
            <p className="flex flex-wrap items-baseline justify-between gap-x-3">
              <span className={cx("font-medium", COLORS[moment.what])}>{NAMES[moment.what]}</span>
              <time dateTime={moment.at} className="text-xs text-faint tabular-nums">
                {clock.format(Date.parse(moment.at))}, +{span(Date.parse(moment.at) - first)}
              </time>
            </p>
            <Detail moment={moment} />
          </div>
        </li>
      ))}
    </ol>
  );
}

function Stop({ moment: { source }, last }: { moment: Moment; last: boolean }): ReactNode {
  return (
    <span aria-hidden className="flex w-4 shrink-0 flex-col items-center">
      <span className="grid size-5 place-items-center">
        {isSource(source) ? (
          <SourceMark source={source} className="size-3.5" />
        ) : (
          <span className="size-2.5 rounded-full border-2 border-edge" />
        )}
      </span>
      {!last && <span className="absolute top-5 bottom-0 w-px bg-line" />}
    </span>
  );
}

function Detail({ moment: { detail, source, producer, event_id } }: { moment: Moment }): ReactNode {
  const text = sentence(detail);
  if (event_id === null || producer === null || !isSource(source)) return <p className="text-xs leading-4.5 text-soft">{text}</p>;
  return (
    <Link
      to={toEvent({ source, producer, id: event_id })}
      className="text-xs leading-4.5 break-words text-accent underline underline-offset-2"
    >
      {text || event_id}
    </Link>
  );
}
