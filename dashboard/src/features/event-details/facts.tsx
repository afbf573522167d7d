import type { ReactNode } from "react";

import { storiesOf, useDeclarations } from "@/api/flows";
import type { Schemas } from "@/api/http";
import { amount, duration } from "@/lib/format";
import { toStory, toView, type FlowKey } from "@/state/address";
import { Fact, FactList } from "@/ui/fact";
import { Link } from "@/ui/link";

const moment = new Intl.DateTimeFormat("en", {
  dateStyle: "medium",
  timeStyle: "medium",
  hourCycle: "h23",
});

/** What one wants to know first; what the event does not say is left out. */
export function Facts({ event, payload }: { event: Schemas["Event"]; payload: string }): ReactNode {
  const stories = storiesOf(event, payload, useDeclarations().data ?? []);
  const lag = Date.parse(event.received_at) - Date.parse(event.time);
  return (
    <FactList>
      <Fact name="Order">{event.order_id && <OrderLink id={event.order_id} />}</Fact>
      <Fact name="Clouds agree?">{stories.length > 0 && <StoryLinks stories={stories} />}</Fact>
      <Fact name="Customer">{event.customer_id}</Fact>
      <Fact name="Amount">{event.amount && <span className="tabular-nums">{amount(event.amount)}</span>}</Fact>
      <Fact name="Happened">{moment.format(Date.parse(event.time))}</Fact>
      <Fact name="Received">
        {moment.format(Date.parse(event.received_at))} ({duration(lag)} later)
      </Fact>
      <Fact name="Origin">{event.origin}</Fact>
      <Fact name="Subject">{event.subject}</Fact>
      <Fact name="Digest">
        <code className="font-mono text-xs">{event.digest}</code>
      </Fact>
    </FactList>
  );
}

const LINK = "text-accent underline underline-offset-2";

/** Leads to everything that was received about the same order. */
function OrderLink({ id }: { id: string }): ReactNode {
  return (
    <Link to={{ ...toView("events"), source: null, type: null, q: id }} className={`font-mono text-xs break-all ${LINK}`}>
      {id}
      <span className="sr-only">: show all events of this order</span>
    </Link>
  );
}

/** Leads to what the other clouds say about it. */
function StoryLinks({ stories }: { stories: readonly FlowKey[] }): ReactNode {
  return stories.map((story) => (
    <Link key={story.flow} to={toStory(story)} className={`mr-3 ${LINK}`}>
      {stories.length > 1 ? `Its place in the ${story.flow} flow` : "Its reconciliation"}
    </Link>
  ));
}
