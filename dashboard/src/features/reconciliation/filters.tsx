import type { ReactNode } from "react";

import { ISSUE_KINDS, ISSUE_NAMES, SHOWS, STATUS_NAMES, statusesOf, type IssueKind, type Show } from "@/lib/flows";
import { count, shortCount } from "@/lib/format";
import { RESOLUTION_NAMES, RESOLUTION_STATES } from "@/lib/resolutions";
import { setFlowFilter, useAddress } from "@/state/address";
import { Select } from "@/ui/select";
import { SearchField } from "@/ui/search-field";
import { StatusMark } from "@/ui/status-badge";

import { useWorkload, type Summary } from "./api";

const RESOLUTIONS = RESOLUTION_STATES.map((state) => [state, RESOLUTION_NAMES[state]] as const);

/** Filters the table by order ID, issue, resolution, assignee and status. */
export function Filters({ summary }: { summary: Summary | null }): ReactNode {
  const { key, resolution } = useAddress().flows;
  return (
    <div role="search" aria-label="Filter orders" className="flex flex-wrap gap-2 px-4 pb-3 sm:px-5">
      <SearchField
        label="Search orders"
        placeholder="Order ID"
        value={key}
        onChange={(value) => {
          setFlowFilter({ key: value });
        }}
      />
      <IssueSelect issues={summary?.issues ?? {}} />
      <Select
        label="Resolution"
        any="Resolved or not"
        value={resolution}
        choices={RESOLUTIONS}
        onChange={(state) => {
          setFlowFilter({ resolution: state });
        }}
        className="max-sm:flex-1"
      />
      <AssigneeSelect />
      <Shows summary={summary} />
    </div>
  );
}

function IssueSelect({ issues }: { issues: Readonly<Record<string, number>> }): ReactNode {
  const { issue, show } = useAddress().flows;
  const choose = (kind: IssueKind | null): void => {
    // An order that has only a duplicate still matches, so it is not among the problems.
    setFlowFilter({ issue: kind, show: kind && show === "problems" ? "all" : show });
  };
  return (
    <select
      aria-label="Issue type"
      value={issue ?? ""}
      onChange={(event) => {
        choose((event.target.value || null) as IssueKind | null);
      }}
      className="h-8 min-w-40 rounded-lg border border-edge bg-panel px-2 text-[13px] text-soft max-sm:flex-1"
    >
      <option value="">All issues</option>
      {ISSUE_KINDS.map((kind) => (
        <option key={kind} value={kind}>
          {ISSUE_NAMES[kind]} ({count(issues[kind] ?? 0)})
        </option>
      ))}
    </select>
  );
}

/** Nothing is shown while no unresolved problem is assigned to anybody. */
function AssigneeSelect(): ReactNode {
  const { assignee } = useAddress().flows;
  const { data = [] } = useWorkload();
  const people = new Set([assignee, ...data.map((row) => row.assignee)].filter((person) => person !== null));
  if (people.size === 0) return null;
  return (
    <Select
      label="Assigned to"
      any="Assigned or not"
      value={assignee}
      choices={[...people].sort((a, b) => a.localeCompare(b)).map((person) => [person, person] as const)}
      onChange={(person) => {
        setFlowFilter({ assignee: person });
      }}
      className="max-w-48 max-sm:flex-1"
    />
  );
}

const nameOf = (show: Show): string =>
  show === "problems" ? "Problems" : show === "all" ? "All" : STATUS_NAMES[show];

/** The status to show, with the number of orders that have it. */
function Shows({ summary }: { summary: Summary | null }): ReactNode {
  const { show: chosen } = useAddress().flows;
  return (
    <div role="group" aria-label="Status" className="flex basis-full flex-wrap gap-1.5">
      {SHOWS.map((show) => (
        <button
          key={show}
          type="button"
          aria-pressed={chosen === show}
          onClick={() => {
            setFlowFilter({ show });
          }}
          className="inline-flex h-8 items-center gap-1.5 rounded-lg border border-line px-2.5 text-[13px] text-soft hover:bg-raised aria-pressed:border-edge aria-pressed:bg-raised aria-pressed:font-semibold aria-pressed:text-ink"
        >
          {show !== "problems" && show !== "all" && <StatusMark status={show} />}
          {nameOf(show)}
          <span className="min-w-[3ch] font-normal text-faint tabular-nums">
            {summary && shortCount(countOf(show, summary))}
          </span>
        </button>
      ))}
    </div>
  );
}

function countOf(show: Show, { total, by_status }: Summary): number {
  if (show === "all") return total;
  return statusesOf(show).reduce((sum, status) => sum + by_status[status], 0);
}
