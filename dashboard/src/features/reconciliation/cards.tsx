import type { ReactNode } from "react";

import { age, amount, count, percent, plural } from "@/lib/format";
import { cx } from "@/ui/class-names";
import { Skeleton } from "@/ui/notice";

import type { Summary } from "./api";

/** The four key figures at the top. */
export function Cards({ summary }: { summary: Summary | null }): ReactNode {
  return (
    <section aria-label="Summary" className="grid grid-cols-2 gap-3 sm:gap-4 xl:grid-cols-4">
      {cards(summary).map(({ title, lines, note, bad }) => (
        <article
          key={title}
          aria-label={title}
          className="min-w-0 rounded-xl border border-line bg-panel px-4 py-3.5 shadow-panel sm:px-5"
        >
          <h3 className="text-[13px] font-medium text-soft">{title}</h3>
          {/* The card reserves room for three lines, so that the layout does not shift. */}
          <p
            className={cx(
              "mt-1.5 flex min-h-15 flex-col justify-center font-semibold tracking-tight tabular-nums",
              lines.length > 1 ? "text-[15px] leading-5" : "text-xl leading-8 sm:text-[28px]",
              bad && "text-bad",
            )}
          >
            {lines.length === 0 ? <Skeleton className="h-6 w-28" /> : lines.map((line) => <span key={line}>{line}</span>)}
          </p>
          <p className="mt-1 min-h-8 text-xs sm:min-h-4 text-faint tabular-nums">{note}</p>
        </article>
      ))}
    </section>
  );
}

interface Card {
  title: string;
  /** The figure, one line per currency; empty while it is loading. */
  lines: readonly string[];
  note: string;
  bad?: boolean;
}

function cards(summary: Summary | null): Card[] {
  if (!summary) {
    return ["Match rate", "Amount at risk", "Open", "Settled"].map((title) => ({ title, lines: [], note: "…" }));
  }
  const { total, by_status, oldest_open_seconds, amount_at_risk } = summary;
  const { open, matched, matched_late, mismatched, incomplete } = by_status;
  const settled = total - open;
  const failed = mismatched + incomplete;
  return [
    {
      title: "Match rate",
      lines: [percent(matched + matched_late, settled)],
      note: settled === 0 ? "no settled orders yet" : `${count(matched + matched_late)} of ${count(settled)} settled orders`,
    },
    {
      title: "Amount at risk",
      lines: amount_at_risk.length === 0 ? [amount("0")] : amount_at_risk.map(inWords),
      note: failed === 0 ? "every settled order matches" : `${count(mismatched)} mismatched, ${count(incomplete)} incomplete`,
      bad: failed > 0,
    },
    {
      title: "Open",
      lines: [count(open)],
      note: oldest_open_seconds === null ? "no open orders" : `oldest open for ${age(oldest_open_seconds * 1000)}`,
    },
    {
      title: "Settled",
      lines: [count(settled)],
      note: matched_late === 0 ? "none matched late" : plural(matched_late, "matched late", "matched late"),
    },
  ];
}

const inWords = ({ amount: value, currency }: Summary["amount_at_risk"][number]): string => `${amount(value)} ${currency ?? ""}`.trim();
