import type { ReactNode } from "react";

import { age, amount, count, percent, plural } from "@/lib/format";
import { cx } from "@/ui/class-names";
import { Skeleton } from "@/ui/notice";

import type { Summary } from "./api";

/** The four figures at the top. */
export function Cards({ summary }: { summary: Summary | null }): ReactNode {
  return (
    <section aria-label="Reconciliation" className="grid grid-cols-2 gap-3 sm:gap-4 xl:grid-cols-4">
      {cards(summary).map(({ title, value, note, bad }) => (
        <article
          key={title}
          aria-label={title}
          className="min-w-0 rounded-xl border border-line bg-panel px-4 py-3.5 shadow-panel sm:px-5"
        >
          <h3 className="text-[13px] font-medium text-soft">{title}</h3>
          <p
            className={cx(
              "mt-1.5 text-xl leading-8 font-semibold tracking-tight break-words tabular-nums sm:text-[28px]",
              bad && "text-bad",
            )}
          >
            {value ?? <Skeleton className="my-1 h-6 w-28" />}
          </p>
          <p className="mt-0.5 text-xs text-faint tabular-nums">{note}</p>
        </article>
      ))}
    </section>
  );
}

interface Card {
  title: string;
  /** Null while it is not known. */
  value: string | null;
  note: string;
  bad?: boolean;
}

function cards(summary: Summary | null): Card[] {
  if (!summary) {
    return ["Match rate", "Amount at risk", "Open", "Settled"].map((title) => ({ title, value: null, note: "…" }));
  }
  const { total, by_status, oldest_open_seconds, amount_at_risk } = summary;
  const { open, matched, matched_late, mismatched, incomplete } = by_status;
  const settled = total - open;
  const failed = mismatched + incomplete;
  return [
    {
      title: "Match rate",
      value: percent(matched + matched_late, settled),
      note: settled === 0 ? "nothing settled yet" : `${count(matched + matched_late)} of ${count(settled)} settled`,
    },
    {
      title: "Amount at risk",
      value: amount_at_risk.map((one) => [amount(one.amount), one.currency ?? ""].join(" ").trim()).join(" + ") || amount("0"),
      note: failed === 0 ? "every settled order matches" : `${count(mismatched)} mismatched, ${count(incomplete)} incomplete`,
      bad: failed > 0,
    },
    {
      title: "Open",
      value: count(open),
      note: oldest_open_seconds === null ? "none waits" : `the oldest for ${age(oldest_open_seconds * 1000)}`,
    },
    {
      title: "Settled",
      value: count(settled),
      note: matched_late === 0 ? "none of them late" : plural(matched_late, "matched late", "matched late"),
    },
  ];
}
