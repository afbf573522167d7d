import type { ReactNode } from "react";

import { age } from "@/lib/format";
import { useNow } from "@/lib/use-now";
import { SourceBadge } from "@/ui/source-mark";
import { Notice, Skeleton } from "@/ui/notice";
import { Panel } from "@/ui/panel";

import { useLatestDeadLetters, type DeadLetter } from "./api";

/** The latest dead letters with their reasons; a click shows the received body. */
export function LatestDeadLetters(): ReactNode {
  const { data, error, refetch } = useLatestDeadLetters();
  return (
    <Panel title="Dead letters" aside={<span className="text-xs text-faint">latest</span>}>
      {error && !data ? (
        <Notice tone="bad" title="Could not load the dead letters" onRetry={() => void refetch()}>
          {error.message}
        </Notice>
      ) : data?.length === 0 ? (
        <Notice title="No dead letters">Every delivery was valid, and none contradicted a stored event.</Notice>
      ) : (
        <ul className="pb-2">
          {data?.map((deadLetter) => <DeadLetterItem key={deadLetter.id} deadLetter={deadLetter} />) ?? <Skeleton className="mx-5 mb-3 h-16" />}
        </ul>
      )}
    </Panel>
  );
}

function DeadLetterItem({ deadLetter }: { deadLetter: DeadLetter }): ReactNode {
  return (
    <li className="border-t border-line first:border-t-0">
      <details>
        <summary className="cursor-pointer list-none px-4 py-2 hover:bg-raised focus-visible:-outline-offset-2 sm:px-5">
          <span className="flex items-center gap-2 text-[13px]">
            <SourceBadge source={deadLetter.source} />
            <span className="font-medium">{deadLetter.status}</span>
            <span className="ml-auto text-xs whitespace-nowrap text-faint tabular-nums">
              {deadLetter.attempts > 1 && `× ${deadLetter.attempts} · `}
              <Age at={deadLetter.last_received_at} />
            </span>
          </span>
          <span className="mt-1 block text-xs leading-4.5 break-words text-soft">
            <code className="font-mono text-ink">{deadLetter.field}</code> {deadLetter.reason}
          </span>
        </summary>
        <pre
          // Long lines scroll, so the keyboard must be able to focus the element.
          // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
          tabIndex={0}
          role="region"
          aria-label="Received body"
          className="mx-4 mb-3 max-h-40 overflow-auto rounded-lg bg-raised p-3 font-mono text-[11px] break-all whitespace-pre-wrap sm:mx-5"
        >
          {deadLetter.body}
        </pre>
      </details>
    </li>
  );
}

function Age({ at }: { at: string }): ReactNode {
  return age(useNow() - Date.parse(at));
}
