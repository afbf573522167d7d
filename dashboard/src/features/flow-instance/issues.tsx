import type { ReactNode } from "react";

import { sourceName } from "@/lib/sources";
import type { FlowInstanceDetails } from "@/api/flows";
import { ISSUE_NAMES, partsOf, sentence, type IssueKind } from "@/lib/flows";
import { cx } from "@/ui/class-names";
import { Panel } from "@/ui/panel";

const COLORS: Record<IssueKind, string> = {
  mismatch: "bg-bad-soft text-bad",
  excess: "bg-bad-soft text-bad",
  gap: "bg-bad-soft text-bad",
  out_of_order: "bg-bad-soft text-bad",
  contradictory: "bg-bad-soft text-bad",
  missing: "bg-bad-soft text-bad",
  late: "bg-warn-soft text-warn",
  duplicate: "bg-raised text-soft",
};

/** The issues of the order, one sentence each. */
export function Issues({ instance }: { instance: FlowInstanceDetails }): ReactNode {
  const { issues, status } = instance;
  return (
    <Panel title={issues.length > 0 ? "Issues" : "No issues"}>
      {issues.length === 0 ? (
        <p className="px-4 pb-4 text-[13px] text-soft sm:px-5">{status === "open" ? waiting(instance) : "All sources agree."}</p>
      ) : (
        <ul className="pb-2">
          {issues.map((issue) => (
            <li
              key={`${issue.kind} ${issue.detail}`}
              className="flex items-start gap-3 border-t border-line px-4 py-2.5 text-[13px] first:border-t-0 sm:px-5"
            >
              <span
                className={cx(
                  "inline-flex h-5.5 w-26 shrink-0 items-center justify-center rounded-md text-xs font-semibold",
                  COLORS[issue.kind],
                )}
              >
                {ISSUE_NAMES[issue.kind]}
              </span>
              <span className="min-w-0 pt-px break-words">{sentence(issue.detail)}</span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function waiting({ legs }: FlowInstanceDetails): string {
  const pending = legs.filter(({ state, optional }) => state === "pending" && !optional);
  const names = pending.map((leg) => `${leg.name} (${[sourceName(leg.source), partsOf(leg)].filter(Boolean).join(", ")})`);
  if (names.length > 0) return `Waiting for ${names.join(" and ")}.`;
  return legs.some(({ state, optional, parts }) => state === "pending" && optional && parts > 0)
    ? "A rule does not hold yet. Until the deadline, further events can change that."
    : "All legs have arrived. The order settles next.";
}
