import type { ReactNode } from "react";

import { flowInstancesOf, useDeclarations } from "@/api/flows";
import type { Schemas } from "@/api/http";
import { amount, duration } from "@/lib/format";
import { toView } from "@/state/address";
import { Fact, FactList } from "@/ui/fact";
import { Link } from "@/ui/link";
import { Moment } from "@/ui/moment";
import { TraceLink } from "@/ui/trace-link";

import { Verdict } from "./verdict";

/** The main fields of an event; missing fields are left out. */
export function Facts({ event, payload }: { event: Schemas["Event"]; payload: string }): ReactNode {
  const instances = flowInstancesOf(event, payload, useDeclarations().data ?? []);
  const lag = Date.parse(event.received_at) - Date.parse(event.time);
  return (
    <FactList>
      <Fact name="Order">{event.order_id && <OrderLink id={event.order_id} />}</Fact>
      <Fact name="Reconciliation">
        {instances.length > 0 &&
          instances.map((instance) => (
            <Verdict key={instance.flow} event={event} instance={instance} named={instances.length > 1} />
          ))}
      </Fact>
      <Fact name="Customer">{event.customer_id}</Fact>
      <Fact name="Amount">{event.amount && <span className="tabular-nums">{amount(event.amount)}</span>}</Fact>
      <Fact name="Occurred"><Moment at={event.time} /></Fact>
      <Fact name="Received">
        <Moment at={event.received_at} /> ({duration(lag)} later)
      </Fact>
      <Fact name="Storage">{event.archived && "Archive: the database no longer has this event."}</Fact>
      <Fact name="Producer">{event.producer}</Fact>
      <Fact name="Subject">{event.subject}</Fact>
      <Fact name="Trace">{event.trace && <TraceLink trace={event.trace} />}</Fact>
      <Attributes attributes={event.attributes} />
      <Fact name="Digest">
        <code className="font-mono text-xs">{event.digest}</code>
      </Fact>
    </FactList>
  );
}

/** What the sender or the cloud sent beside the payload. */
function Attributes({ attributes }: { attributes: Record<string, string> }): ReactNode {
  const entries = Object.entries(attributes);
  return (
    <Fact name="Attributes">
      {entries.length > 0 && (
        <ul className="space-y-0.5 font-mono text-xs break-all">
          {entries.map(([name, value]) => (
            <li key={name}>
              <span className="text-faint">{name}: </span>
              {value}
            </li>
          ))}
        </ul>
      )}
    </Fact>
  );
}

const LINK = "text-accent underline underline-offset-2";

/** Links to all events of the same order. */
function OrderLink({ id }: { id: string }): ReactNode {
  return (
    <Link to={{ ...toView("events"), source: null, type: null, q: id }} className={`font-mono text-xs break-all ${LINK}`}>
      {id}
      <span className="sr-only">: show all events of this order</span>
    </Link>
  );
}
