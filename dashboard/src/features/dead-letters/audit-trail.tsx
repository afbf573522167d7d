import type { ReactNode } from "react";

import { Moment } from "@/ui/moment";

import type { DeadLetter } from "./api";

/** The replays of a dead letter: actor, time and outcome. */
export function AuditTrail({ deadLetter: { replays } }: { deadLetter: DeadLetter }): ReactNode {
  if (replays.length === 0) return null;
  return (
    <section aria-label="Replay history" className="text-[13px]">
      <h3 className="font-semibold">Replay history</h3>
      <ul className="mt-1.5">
        {replays.map(({ at, actor, detail }) => (
          <li key={at} className="border-t border-line py-1.5 first:border-t-0">
            <span className="font-medium">{actor}</span> <span className="break-words text-soft">{detail}</span>
            <span className="block text-xs text-faint">
              <Moment at={at} />
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}
