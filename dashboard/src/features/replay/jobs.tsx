import type { ReactNode } from "react";

import { Notice, Skeleton } from "@/ui/notice";
import { Panel } from "@/ui/panel";

import { useJobs } from "./api";
import { JobCard } from "./job-card";

/** The running and finished replay jobs. */
export function Jobs(): ReactNode {
  const { data, error, refetch } = useJobs();
  return (
    <Panel title="Replay jobs" aside={<span className="text-xs text-faint">latest</span>}>
      {error && !data ? (
        <Notice tone="bad" title="Could not load the replay jobs" onRetry={() => void refetch()}>
          {error.message}
        </Notice>
      ) : data?.length === 0 ? (
        <Notice title="No replay jobs yet">Replay jobs appear here with their progress.</Notice>
      ) : (
        <ul className="max-h-[26rem] overflow-y-auto pb-2">
          {data?.map((job) => (
            <li key={job.id} className="border-t border-line px-4 py-3 first:border-t-0 sm:px-5">
              <JobCard job={job} />
            </li>
          )) ?? <Skeleton className="mx-5 mb-3 h-16" />}
        </ul>
      )}
    </Panel>
  );
}
