import type { ReactNode } from "react";

import { STATUS_NAMES, type FlowStatus } from "@/lib/flows";

import { cx } from "./class-names";

const COLORS: Record<FlowStatus, string> = {
  mismatched: "bg-bad-soft text-bad",
  incomplete: "bg-bad-soft text-bad",
  matched_late: "bg-warn-soft text-warn",
  open: "bg-raised text-soft",
  matched: "bg-good-soft text-good",
};

/** A shape per status, so that colour is never the only distinction. */
const SHAPES: Record<FlowStatus, string> = {
  mismatched: "M2 4.5h8M2 7.5h8M7.5 2l-3 8",
  incomplete: "M6 1.8A4.2 4.2 0 1 0 10.2 6",
  matched_late: "M6 10.2a4.2 4.2 0 1 0 0-8.4 4.2 4.2 0 0 0 0 8.4ZM6 3.8V6l1.6 1",
  open: "M6 10.2a4.2 4.2 0 1 0 0-8.4 4.2 4.2 0 0 0 0 8.4Z",
  matched: "m2 6.4 2.6 2.6L10 3.4",
};

export function StatusMark({ status, className }: { status: FlowStatus; className?: string }): ReactNode {
  return (
    <svg
      viewBox="0 0 12 12"
      aria-hidden
      fill="none"
      stroke="currentColor"
      strokeWidth="1.6"
      strokeLinecap="round"
      strokeLinejoin="round"
      className={cx("size-3 shrink-0", className)}
    >
      <path d={SHAPES[status]} />
    </svg>
  );
}

export function StatusBadge({ status, className }: { status: FlowStatus; className?: string }): ReactNode {
  return (
    <span
      className={cx(
        "inline-flex h-5.5 items-center gap-1.5 rounded-md px-1.5 text-xs font-semibold whitespace-nowrap",
        COLORS[status],
        className,
      )}
    >
      <StatusMark status={status} />
      {STATUS_NAMES[status]}
    </span>
  );
}
