import { useState, type ReactNode } from "react";

import { ApiError } from "@/api/http";
import type { EventKey } from "@/lib/event-key";
import { openEvent } from "@/state/address";
import { CopyButton } from "@/ui/copy-button";
import { Drawer } from "@/ui/drawer";
import { Notice, Skeleton } from "@/ui/notice";
import { SourceBadge } from "@/ui/source-mark";
import { Segments } from "@/ui/segments";

import { asCurl, eventUrl, useEvent, type EventDetails } from "./api";
import { Comparison } from "./comparison";
import { Facts } from "./facts";

function close(): void {
  openEvent(null);
}

/** The event in the URL, shown over the right side of the page. */
export default function EventDrawer({ eventKey }: { eventKey: EventKey }): ReactNode {
  const { data, error, refetch } = useEvent(eventKey);
  const heading = (
    <>
      <div className="flex items-center gap-2.5">
        <SourceBadge source={eventKey.source} />
        <h2 className="truncate text-base font-semibold tracking-tight">{data?.event.type ?? "Event"}</h2>
      </div>
      <p className="mt-1.5 font-mono text-xs break-all text-soft">{eventKey.id}</p>
    </>
  );
  return (
    <Drawer label="Event" heading={heading} onClose={close}>
      {data ? (
        <Details details={data} url={eventUrl(eventKey)} />
      ) : error instanceof ApiError && error.status === 404 ? (
        <Notice title="Event not found">Helios has not stored this event, or the address is wrong.</Notice>
      ) : error ? (
        <Notice tone="bad" title="Could not load the event" onRetry={() => void refetch()}>
          {error.message}
        </Notice>
      ) : (
        <Skeleton className="m-5 h-64" />
      )}
    </Drawer>
  );
}

type View = "normalised" | "payload" | "difference";
const VIEWS = [
  ["normalised", "Normalised"],
  ["payload", "Raw payload"],
  ["difference", "Difference"],
] as const;

function Details({ details, url }: { details: EventDetails; url: string }): ReactNode {
  const [view, setView] = useState<View>("normalised");
  const text = details[view === "payload" ? "payload" : "normalised"];
  return (
    <div className="min-h-0 flex-1 overflow-y-auto px-5 py-4">
      <Facts event={details.event} payload={details.payload} />
      <div className="mt-5 flex flex-wrap items-center gap-2">
        <div className="mr-auto">
          <Segments label="Format" value={view} choices={VIEWS} onChange={setView} />
        </div>
        <div className="flex gap-2">
          <CopyButton text={text}>Copy JSON</CopyButton>
          <CopyButton text={asCurl(url)}>Copy as curl</CopyButton>
        </div>
      </div>
      {view === "difference" ? (
        <Comparison normalised={details.normalised} />
      ) : (
        <pre
          // Long lines scroll, so the keyboard must be able to focus the element.
          // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
          tabIndex={0}
          role="region"
          aria-label={view === "normalised" ? "Normalised event" : "Raw payload"}
          className="mt-3 overflow-x-auto rounded-lg border border-line bg-page p-4 font-mono text-xs leading-5"
        >
          {text}
        </pre>
      )}
    </div>
  );
}
