import type { ReactNode } from "react";

import type { ReplayJob } from "@/api/replay";
import { Ago } from "@/ui/age";
import { Button } from "@/ui/button";
import { cx } from "@/ui/class-names";
import { Refusal } from "@/ui/refusal";

import { useCancel } from "./api";
import { countOf, processed, scopeOf, progressOf, targetName } from "./wording";

const STATES: Record<ReplayJob["state"], string> = {
  running: "bg-raised text-soft",
  done: "bg-good-soft text-good",
  cancelled: "bg-warn-soft text-warn",
  failed: "bg-bad-soft text-bad",
};

/** One job: its scope, target and progress, and a button to cancel it. */
export function JobCard({ job }: { job: ReplayJob }): ReactNode {
  const { mutate, isPending, error } = useCancel();
  return (
    <div className="flex flex-col gap-1.5 text-[13px]">
      <p className="flex flex-wrap items-center gap-x-2.5 gap-y-1">
        <span className={cx("rounded-md px-1.5 text-xs leading-5.5 font-semibold", STATES[job.state])}>{job.state}</span>
        <span className="min-w-0 font-medium break-words">
          {countOf(job.what, job.matching)} to {targetName(job.target)}
        </span>
        <span className="ml-auto text-xs text-faint">
          job {job.id} by {job.actor}, <Ago at={Date.parse(job.created_at)} />
        </span>
      </p>
      <Bar job={job} />
      <div className="flex flex-wrap items-center justify-between gap-x-3 gap-y-1 text-xs text-soft tabular-nums">
        <span className="min-w-0 break-words">
          {progressOf(job)}; {scopeOf(job)}; at most {job.per_second}/s
        </span>
        {job.state === "running" && (
          <Button
            disabled={isPending}
            onClick={() => {
              mutate(job.id);
            }}
          >
            Cancel
          </Button>
        )}
      </div>
      {job.last_error && <p className="text-xs break-words text-bad">Error: {job.last_error}</p>}
      {error && <Refusal error={error} />}
    </div>
  );
}

function Bar({ job }: { job: ReplayJob }): ReactNode {
  const done = processed(job);
  return (
    <div
      role="progressbar"
      aria-label={`Replay job ${job.id}`}
      aria-valuemin={0}
      aria-valuemax={job.matching}
      aria-valuenow={Math.min(done, job.matching)}
      className="h-1.5 overflow-hidden rounded-full bg-raised"
    >
      <div
        className={cx("h-full rounded-full", job.state === "failed" ? "bg-bad" : "bg-accent")}
        style={{ width: `${job.matching === 0 ? 100 : Math.min(100, (100 * done) / job.matching)}%` }}
      />
    </div>
  );
}
