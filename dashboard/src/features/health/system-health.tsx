import type { ReactNode } from "react";

import { age } from "@/lib/format";
import { useNow } from "@/lib/use-now";
import { useConnection, usePulse } from "@/live/keys";
import { cx } from "@/ui/class-names";
import { Panel } from "@/ui/panel";

import { useHealth } from "./api";
import { sourceLines, partLines, streamLine, type Line, type Tone } from "./wording";

/** The services of Helios and the sources, with the reason for each problem. */
export function SystemHealth(): ReactNode {
  const now = useNow();
  const { data, error } = useHealth();
  const connection = useConnection();
  const pulse = usePulse();
  return (
    <Panel
      title="System health"
      aside={data && !error && <span className="text-xs text-faint">up {age(data.uptime * 1000)}</span>}
    >
      <ul className="px-4 pb-2 sm:px-5">
        {[...partLines(data, error), streamLine(connection, now)].map((line) => (
          <HealthLine key={line.name} line={line} />
        ))}
      </ul>
      <h3 className="border-t border-line px-4 pt-3 pb-1 text-xs font-medium text-faint sm:px-5">
        Lag by source
      </h3>
      <ul className="px-4 pb-3 sm:px-5">
        {sourceLines(pulse, now).map((line) => (
          <HealthLine key={line.name} line={line} />
        ))}
      </ul>
    </Panel>
  );
}

function HealthLine({ line: { name, tone, state, detail } }: { line: Line }): ReactNode {
  return (
    <li className="py-1.5 text-[13px]">
      <p className="flex items-center gap-2.5">
        <Lamp tone={tone} />
        <span className="font-medium">{name}</span>
        <span className={cx("ml-auto text-right tabular-nums", WORDS[tone])}>{state}</span>
      </p>
      {detail && tone !== "off" && (
        <p className="mt-0.5 pl-5.5 text-xs leading-4.5 break-words text-soft">{detail}</p>
      )}
    </li>
  );
}

const WORDS: Record<Tone, string> = {
  good: "text-soft",
  warn: "font-medium text-warn",
  bad: "font-medium text-bad",
  off: "text-faint",
};

/** Colour and shape: a disc, a triangle, a cross, a ring. */
function Lamp({ tone }: { tone: Tone }): ReactNode {
  const props = { viewBox: "0 0 12 12", "aria-hidden": true, className: "size-3 shrink-0" };
  switch (tone) {
    case "good":
      return (
        <svg {...props}>
          <circle cx="6" cy="6" r="4" fill="var(--color-good)" />
        </svg>
      );
    case "warn":
      return (
        <svg {...props}>
          <path d="M6 1 11.4 10.8H.6Z" fill="var(--color-warn)" />
        </svg>
      );
    case "bad":
      return (
        <svg {...props}>
          <path d="m2 2 8 8m0-8-8 8" stroke="var(--color-bad)" strokeWidth="2.4" strokeLinecap="round" />
        </svg>
      );
    case "off":
      return (
        <svg {...props}>
          <circle cx="6" cy="6" r="3.4" fill="none" stroke="var(--color-faint)" strokeWidth="1.4" />
        </svg>
      );
  }
}
