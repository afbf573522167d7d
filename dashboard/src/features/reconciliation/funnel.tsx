import type { ReactNode } from "react";

import { count, percent } from "@/lib/format";
import { Notice, Skeleton } from "@/ui/notice";
import { Panel } from "@/ui/panel";

import type { Summary } from "./api";

interface Step {
  name: string;
  /** Orders that reached this number of sources, or more. */
  reached: number;
  /** Orders that reached exactly this number of sources. */
  stayed: number;
}

/** How many orders have events from one, two and more sources. */
export function Funnel({ summary }: { summary: Summary | null }): ReactNode {
  const steps = summary && stepsOf(summary.seen_on);
  const all = steps?.[0]?.reached ?? 0;
  return (
    <Panel title="Orders by number of sources">
      {!steps ? (
        <Skeleton className="mx-5 mb-5 h-43.5" />
      ) : all === 0 ? (
        <Notice title="No orders yet">An order appears with its first event.</Notice>
      ) : (
        <ol className="flex flex-1 flex-col justify-center gap-3.5 px-4 pb-5 sm:px-5">
          {steps.map((step, index) => (
            <StepBar key={step.name} step={step} all={all} last={index === steps.length - 1} />
          ))}
        </ol>
      )}
    </Panel>
  );
}

function StepBar({ step: { name, reached, stayed }, all, last }: { step: Step; all: number; last: boolean }): ReactNode {
  return (
    <li className="text-[13px]">
      <p className="flex items-baseline justify-between gap-3">
        <span className="font-medium">{name}</span>
        <span className="tabular-nums">
          <strong className="font-semibold">{count(reached)}</strong>{" "}
          <span className="text-xs text-faint">{percent(reached, all)}</span>
        </span>
      </p>
      <div aria-hidden className="mt-1.5 h-2.5 overflow-hidden rounded-full bg-raised">
        <div className="h-full rounded-full bg-accent" style={{ width: `${(100 * reached) / all}%` }} />
      </div>
      {!last && stayed > 0 && <p className="mt-1 text-xs text-faint tabular-nums">{count(stayed)} with no further source</p>}
    </li>
  );
}

const WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const inWords = (number: number): string => WORDS[number] ?? String(number);

/** @param seenOn orders by the number of sources that sent an event, up to all sources of the flow. */
export function stepsOf(seenOn: Readonly<Record<string, number>>): Step[] {
  const all = Math.max(...Object.keys(seenOn).map(Number));
  return Array.from({ length: all }, (_, index) => {
    const number = index + 1;
    const words = `${inWords(number)} ${number === 1 ? "source" : "sources"}`;
    const further = Array.from({ length: all - index }, (__, more) => seenOn[number + more] ?? 0);
    return {
      name: number === all && all > 1 ? words.charAt(0).toUpperCase() + words.slice(1) : `At least ${words}`,
      reached: further.reduce((sum, orders) => sum + orders, 0),
      stayed: seenOn[number] ?? 0,
    };
  });
}
