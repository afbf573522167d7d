import type { ReactNode } from "react";

import { ApiError } from "@/api/http";
import { go, toDeadLetter, useAddress } from "@/state/address";
import { count } from "@/lib/format";
import { Drawer } from "@/ui/drawer";
import { Fact, FactList } from "@/ui/fact";
import { Moment } from "@/ui/moment";
import { Notice, Skeleton } from "@/ui/notice";
import { SourceBadge } from "@/ui/source-mark";

import { useDeadLetter, type DeadLetter } from "./api";
import { Body } from "./body";
import { EventLinks } from "./event-links";
import { ReplayForm } from "./replay-form";
import { AuditTrail } from "./audit-trail";

const close = (): void => {
  go(toDeadLetter(null));
};

/** The dead letter in the URL, shown over the right side of the page. */
export function DeadLetterDrawer(): ReactNode {
  const { deadLetter } = useAddress();
  return deadLetter === null ? null : <Opened key={deadLetter} id={deadLetter} />;
}

function Opened({ id }: { id: number }): ReactNode {
  const { data, error, refetch } = useDeadLetter(id);
  return (
    <Drawer label="Dead letter" heading={<Heading id={id} deadLetter={data} />} onClose={close}>
      {data ? (
        <div className="flex min-h-0 flex-1 flex-col gap-5 overflow-y-auto px-5 py-4">
          <p className="rounded-lg bg-bad-soft px-3 py-2.5 text-[13px] break-words">
            <code className="font-mono font-semibold text-bad">{data.field}</code> {data.reason}
          </p>
          <Facts deadLetter={data} />
          <Body deadLetter={data} />
          {data.status === "rejected" && <ReplayForm deadLetter={data} />}
          <AuditTrail deadLetter={data} />
        </div>
      ) : error instanceof ApiError && error.status === 404 ? (
        <Notice title="Dead letter not found">No dead letter has this number. Check the address.</Notice>
      ) : error ? (
        <Notice tone="bad" title="Could not load the dead letter" onRetry={() => void refetch()}>
          {error.message}
        </Notice>
      ) : (
        <Skeleton className="m-5 h-64" />
      )}
    </Drawer>
  );
}

function Heading({ id, deadLetter }: { id: number; deadLetter: DeadLetter | undefined }): ReactNode {
  return (
    <div className="flex items-center gap-2.5">
      {deadLetter && <SourceBadge source={deadLetter.source} />}
      <h2 className="truncate text-base font-semibold tracking-tight">
        Dead letter {id}
        {deadLetter && <span className="font-normal text-soft">, {deadLetter.status}</span>}
      </h2>
    </div>
  );
}

function Facts({ deadLetter }: { deadLetter: DeadLetter }): ReactNode {
  const headers = Object.entries(deadLetter.headers);
  return (
    <FactList>
      <Fact name="Attempts">{count(deadLetter.attempts)}</Fact>
      <Fact name="First received"><Moment at={deadLetter.first_received_at} /></Fact>
      <Fact name="Last received"><Moment at={deadLetter.last_received_at} /></Fact>
      <Fact name="Channel">{deadLetter.channel}</Fact>
      <Fact name="Headers">
        {headers.map(([name, value]) => (
          <code key={name} className="block font-mono text-xs leading-5 break-all">
            {name}: {value}
          </code>
        ))}
        {headers.length === 0 && "none recorded"}
      </Fact>
      <Fact name="Replayed as">
        {deadLetter.replayed_as && (
          <>
            {deadLetter.replayed_as} {deadLetter.replayed_at && <Moment at={deadLetter.replayed_at} />}
            <EventLinks keys={deadLetter.replayed_keys} />
          </>
        )}
      </Fact>
    </FactList>
  );
}
