import type { ReactNode } from "react";

import type { FlowLeg } from "@/api/flows";
import { partsOf } from "@/lib/flows";
import { isSource, sourceName } from "@/lib/sources";
import { SourceMark } from "@/ui/source-mark";

/** The state of each leg: filled if present, underlined if late, an outline if missing. */
export function LegMarks({ legs }: { legs: readonly FlowLeg[] }): ReactNode {
  return (
    <span className="flex items-center gap-1.5">
      <span className="sr-only">{legs.map(stateOf).join(", ")}</span>
      {legs.map((leg) => (
        <span key={leg.name} aria-hidden title={`${sourceName(leg.source)}: ${stateOf(leg)}`}>
          <LegMark leg={leg} />
        </span>
      ))}
    </span>
  );
}

const stateOf = (leg: FlowLeg): string => [leg.name, partsOf(leg), leg.state].filter(Boolean).join(" ");

function LegMark({ leg: { source, state } }: { leg: FlowLeg }): ReactNode {
  const there = state === "present" || state === "late";
  if (!there) {
    return <span className="block size-3.5 rounded-full border-[1.5px] border-dashed border-edge" />;
  }
  return (
    <span className={state === "late" ? "block border-b-2 border-warn pb-px" : "block"}>
      {isSource(source) ? (
        <SourceMark source={source} className="size-3.5" />
      ) : (
        <span className="block size-3.5 rounded-sm bg-edge" />
      )}
    </span>
  );
}
