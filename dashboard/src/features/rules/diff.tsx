import { useMemo, type ReactNode } from "react";

import { diffOf, type DiffLine } from "@/lib/diff";
import { cx } from "@/ui/class-names";
import { Scrolling } from "@/ui/scrolling";

const MARKS: Record<DiffLine["kind"], string> = { same: " ", removed: "-", added: "+" };
const NAMES: Record<DiffLine["kind"], string> = { same: "", removed: "Removed: ", added: "Added: " };
const COLORS: Record<DiffLine["kind"], string> = {
  same: "text-soft",
  removed: "bg-bad-soft text-bad",
  added: "bg-good-soft text-good",
};

/** The difference between two texts; a sign before each line says the same as its colour. */
export function Diff({ before, after }: { before: string; after: string }): ReactNode {
  const lines = useMemo(() => diffOf(before, after), [before, after]);
  if (lines.every(({ kind }) => kind === "same")) return <p className="text-soft">The texts are the same.</p>;
  return (
    <Scrolling label="Difference" className="max-h-80 rounded-lg border border-line">
      <ol className="w-max min-w-full font-mono text-xs leading-5">
        {lines.map(({ kind, text }, number) => (
          <li key={number} className={cx("px-3 whitespace-pre", COLORS[kind])}>
            <span aria-hidden>{MARKS[kind]} </span>
            <span className="sr-only">{NAMES[kind]}</span>
            {text}
          </li>
        ))}
      </ol>
    </Scrolling>
  );
}
