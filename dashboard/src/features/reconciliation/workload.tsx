import type { ReactNode } from "react";

import { age, count } from "@/lib/format";
import { Notice } from "@/ui/notice";
import { Panel } from "@/ui/panel";
import { Scrolling } from "@/ui/scrolling";

import { useWorkload, type Workload } from "./api";

const NOBODY = "nobody";

/** The problems that nobody has resolved, by assignee and age. Nothing is shown if there are none. */
export function WorkloadPanel({ flow }: { flow: string | null }): ReactNode {
  const { data, error, refetch } = useWorkload();
  const rows = data?.filter((row) => flow === null || row.flow === flow) ?? [];
  if (rows.length === 0 && !error) return null;
  return (
    <Panel title="Unresolved problems" aside={<Overdue rows={rows} />}>
      {error && !data ? (
        <Notice tone="bad" title="Could not load the unresolved problems" onRetry={() => void refetch()}>
          {error.message}
        </Notice>
      ) : (
        <Scrolling label="Workload" className="px-4 pb-3 sm:px-5">
          <Table rows={rows} />
        </Scrolling>
      )}
    </Panel>
  );
}

/** How many problems are older than the target of their flow. */
function Overdue({ rows }: { rows: Workload[] }): ReactNode {
  const overdue = rows.reduce((sum, row) => sum + row.overdue, 0);
  return overdue > 0 && <span className="text-[13px] font-medium text-bad">{count(overdue)} overdue</span>;
}

function Table({ rows }: { rows: Workload[] }): ReactNode {
  const ages = [...new Set(rows.map((row) => row.older_than_seconds))].sort((a, b) => a - b);
  const people = [...new Set(rows.map((row) => row.assignee))].sort((a, b) => (a ?? "").localeCompare(b ?? ""));
  const number = (person: string | null, seconds?: number): number =>
    rows
      .filter((row) => row.assignee === person && (seconds === undefined || row.older_than_seconds === seconds))
      .reduce((sum, row) => sum + row.instances, 0);
  return (
    <table className="w-full text-[13px] tabular-nums">
      <thead>
        <tr className="text-left text-xs text-faint">
          <th className="py-1.5 pr-3 font-medium">assigned to</th>
          {ages.map((seconds) => (
            <th key={seconds} className="py-1.5 pl-3 text-right font-medium whitespace-nowrap">
              {seconds === 0 ? "new" : `over ${age(1000 * seconds)}`}
            </th>
          ))}
          <th className="py-1.5 pl-3 text-right font-medium">all</th>
        </tr>
      </thead>
      <tbody>
        {people.map((person) => (
          <tr key={person ?? NOBODY} className="border-t border-line">
            <td className="py-1.5 pr-3 break-words">{person ?? NOBODY}</td>
            {ages.map((seconds) => (
              <td key={seconds} className="py-1.5 pl-3 text-right">
                {count(number(person, seconds))}
              </td>
            ))}
            <td className="py-1.5 pl-3 text-right font-medium">{count(number(person))}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
