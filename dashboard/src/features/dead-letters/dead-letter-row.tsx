import { memo, type ReactNode } from "react";

import { count, plural } from "@/lib/format";
import { toDeadLetter } from "@/state/address";
import { Age } from "@/ui/age";
import { cx } from "@/ui/class-names";
import { Link } from "@/ui/link";
import { SourceBadge } from "@/ui/source-mark";

import type { DeadLetter } from "./api";

/** Used by the column headings too. */
export const COLUMNS = "lg:grid-cols-[var(--badge,5rem)_6.5rem_minmax(12rem,1fr)_7rem_4.5rem_3.5rem] lg:gap-x-4";

/** One dead letter; the whole row is a link that opens it. */
export const DeadLetterRow = memo(function DeadLetterRow({ deadLetter, selected }: { deadLetter: DeadLetter; selected: boolean }): ReactNode {
  return (
    <li className="border-t border-line first:border-t-0">
      <Link
        to={toDeadLetter(deadLetter.id)}
        data-row={deadLetter.id}
        aria-current={selected || undefined}
        className={cx(
          "grid w-full grid-cols-[auto_1fr_auto] items-center gap-x-3 gap-y-1 px-4 py-2.5 text-[13px]",
          "hover:bg-raised focus-visible:-outline-offset-2 aria-[current]:bg-raised sm:px-5 lg:min-h-11 lg:py-1.5",
          COLUMNS,
        )}
      >
        <span className="justify-self-start">
          <SourceBadge source={deadLetter.source} />
        </span>
        <span className="font-medium">{deadLetter.status}</span>
        <span className="text-soft max-lg:order-last max-lg:col-span-3 max-lg:break-words lg:truncate">
          <code className="font-mono text-xs text-ink">{deadLetter.field}</code> {deadLetter.reason}
        </span>
        <span className={cx("text-xs", deadLetter.replayed_as ? "text-good" : "text-faint max-lg:hidden")}>
          {deadLetter.replayed_as ?? "no"}
        </span>
        <span className="text-right text-xs text-faint tabular-nums max-lg:hidden">
          <span className="sr-only">{plural(deadLetter.attempts, "attempt")}</span>
          <span aria-hidden>{count(deadLetter.attempts)}</span>
        </span>
        <Age at={Date.parse(deadLetter.last_received_at)} className="max-lg:order-3 max-lg:col-start-3 max-lg:row-start-1" />
      </Link>
    </li>
  );
});
