import type { ReactNode } from "react";

import { count, plural } from "@/lib/format";
import { setDeadLetterFilter, toDeadLetter, useAddress } from "@/state/address";
import { Ago } from "@/ui/age";
import { Link } from "@/ui/link";
import { Notice, Skeleton } from "@/ui/notice";
import { Panel } from "@/ui/panel";
import { SourceBadge } from "@/ui/source-mark";

import { useDeadLetterGroups, type DeadLetterGroup } from "./api";

/** Dead letters grouped by reason, most frequent first. One fix usually solves a whole group. */
export function Groups(): ReactNode {
  const { deadLetters: filter } = useAddress();
  const { data, error, refetch } = useDeadLetterGroups(filter);
  return (
    <Panel
      title="By reason"
      aside={data && data.length > 0 && <span className="text-xs text-faint">{plural(data.length, "reason")}</span>}
    >
      {error && !data ? (
        <Notice tone="bad" title="Could not load the reasons" onRetry={() => void refetch()}>
          {error.message}
        </Notice>
      ) : data?.length === 0 ? (
        <Notice title="No dead letters">Dead letters with the same reason form a group here.</Notice>
      ) : (
        <ul className="max-h-[26rem] overflow-y-auto pb-2 has-[>span]:h-[26rem]">
          {data?.map((group) => <Group key={Object.values(group).join()} group={group} />) ?? (
            <Skeleton className="mx-5 h-full" />
          )}
        </ul>
      )}
    </Panel>
  );
}

function Group({ group }: { group: DeadLetterGroup }): ReactNode {
  const { source, status, field, reason, count: total, first, last, example_id } = group;
  return (
    <li className="border-t border-line px-4 py-2.5 text-[13px] first:border-t-0 sm:px-5">
      <div className="flex items-center gap-2">
        <SourceBadge source={source} />
        <span className="text-soft">{status}</span>
        <strong className="ml-auto text-base leading-6 font-semibold tabular-nums">
          {count(total)}
          <span className="sr-only"> dead letters</span>
        </strong>
      </div>
      <button
        type="button"
        onClick={() => {
          setDeadLetterFilter({ cloud: source, status, field, reason });
        }}
        className="mt-0.5 block min-h-6 w-full rounded text-left leading-5 break-words hover:underline"
      >
        <code className="font-mono text-xs">{field}</code> <span className="text-soft">{reason}</span>
      </button>
      <p className="mt-1 flex flex-wrap items-baseline gap-x-3 text-xs text-faint">
        <span>
          last <Ago at={Date.parse(last)} />, first <Ago at={Date.parse(first)} />
        </span>
        <Link to={toDeadLetter(example_id)} className="ml-auto py-1 text-accent underline underline-offset-2">
          Example
        </Link>
      </p>
    </li>
  );
}
