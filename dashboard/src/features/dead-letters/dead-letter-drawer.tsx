import type { ReactNode } from "react";

import { ApiError } from "@/api/http";
import { go, toLetter, useAddress } from "@/state/address";
import { count } from "@/lib/format";
import { Drawer } from "@/ui/drawer";
import { Fact, FactList } from "@/ui/fact";
import { Moment } from "@/ui/moment";
import { Notice, Skeleton } from "@/ui/notice";
import { SourceBadge } from "@/ui/source-badge";

import { useLetter, type DeadLetter } from "./api";
import { Body } from "./body";
import { Events } from "./event-links";
import { Repair } from "./replay-form";
import { Trail } from "./audit-trail";

const close = (): void => {
  go(toLetter(null));
};

/** The letter that the URL names, over the page's right side. */
export function LetterDrawer(): ReactNode {
  const { letter } = useAddress();
  return letter === null ? null : <Opened key={letter} id={letter} />;
}

function Opened({ id }: { id: number }): ReactNode {
  const { data, error, refetch } = useLetter(id);
  return (
    <Drawer label="Dead letter" heading={<Heading id={id} letter={data} />} onClose={close}>
      {data ? (
        <div className="flex min-h-0 flex-1 flex-col gap-5 overflow-y-auto px-5 py-4">
          <p className="rounded-lg bg-bad-soft px-3 py-2.5 text-[13px] break-words">
            <code className="font-mono font-semibold text-bad">{data.field}</code> {data.reason}
          </p>
          <Facts letter={data} />
          <Body letter={data} />
          {data.status === "rejected" && <Repair letter={data} />}
          <Trail letter={data} />
        </div>
      ) : error instanceof ApiError && error.status === 404 ? (
        <Notice title="There is no such dead letter">It was swept away, or the address is not quite right.</Notice>
      ) : error ? (
        <Notice tone="bad" title="The dead letter can't be shown" onRetry={() => void refetch()}>
          {error.message}
        </Notice>
      ) : (
        <Skeleton className="m-5 h-64" />
      )}
    </Drawer>
  );
}

function Heading({ id, letter }: { id: number; letter: DeadLetter | undefined }): ReactNode {
  return (
    <div className="flex items-center gap-2.5">
      {letter && <SourceBadge source={letter.source} />}
      <h2 className="truncate text-base font-semibold tracking-tight">
        Dead letter {id}
        {letter && <span className="font-normal text-soft">, {letter.status}</span>}
      </h2>
    </div>
  );
}

function Facts({ letter }: { letter: DeadLetter }): ReactNode {
  const headers = Object.entries(letter.headers);
  return (
    <FactList>
      <Fact name="Attempts">{count(letter.attempts)}</Fact>
      <Fact name="First came"><Moment at={letter.first_received_at} /></Fact>
      <Fact name="Last came"><Moment at={letter.last_received_at} /></Fact>
      <Fact name="Way in">{letter.way_in}</Fact>
      <Fact name="Headers">
        {headers.map(([name, value]) => (
          <code key={name} className="block font-mono text-xs leading-5 break-all">
            {name}: {value}
          </code>
        ))}
        {headers.length === 0 && "none that are read"}
      </Fact>
      <Fact name="Taken in">
        {letter.replayed_as && (
          <>
            {letter.replayed_as} {letter.replayed_at && <Moment at={letter.replayed_at} />}
            <Events keys={letter.replayed_keys} />
          </>
        )}
      </Fact>
    </FactList>
  );
}
