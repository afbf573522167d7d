import { useEffect, useRef, type ReactNode } from "react";

import type { FlowStory } from "@/api/flows";
import { ApiError } from "@/api/http";
import { amount, secondsUntil, span, timeOfDay } from "@/lib/format";
import { useNow } from "@/lib/use-now";
import { toView, type FlowKey } from "@/state/address";
import { Icon } from "@/ui/icons";
import { Link } from "@/ui/link";
import { Notice, Skeleton } from "@/ui/notice";
import { Panel } from "@/ui/panel";
import { StatusBadge } from "@/ui/status-badge";

import { useStory } from "./api";
import { Comparison } from "./comparison";
import { Issues } from "./issues";
import { LegTrack } from "./leg-track";
import { Timeline } from "./timeline";

/** What each cloud said about one order, and when. */
export default function StoryPage({ flowKey }: { flowKey: FlowKey }): ReactNode {
  const { data: story, error, refetch } = useStory(flowKey);
  return (
    <>
      <Title flowKey={flowKey} story={story} />
      {story ? (
        <Story story={story} />
      ) : error instanceof ApiError && error.status === 404 ? (
        <Notice title="There is no such order">No cloud has spoken of it, or the address is not quite right.</Notice>
      ) : error ? (
        <Notice tone="bad" title="The order can't be shown" onRetry={() => void refetch()}>
          {error.message}
        </Notice>
      ) : (
        <Skeleton className="h-96" />
      )}
    </>
  );
}

function Title({ flowKey, story }: { flowKey: FlowKey; story: FlowStory | undefined }): ReactNode {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    // Another page to the eye must be one to the keyboard and the screen reader.
    window.scrollTo({ top: 0 });
    heading.current?.focus({ preventScroll: true });
  }, []);
  return (
    <div className="px-1">
      <Link
        to={toView("reconciliation")}
        className="inline-flex h-8 items-center gap-1.5 text-[13px] text-soft hover:text-ink"
      >
        <Icon name="back" className="size-3.5" />
        All orders
      </Link>
      <div className="mt-1 flex flex-wrap items-center gap-x-3 gap-y-2">
        <h2
          ref={heading}
          tabIndex={-1}
          className="text-xl font-semibold tracking-tight break-all focus-visible:outline-none"
        >
          <span className="sr-only">{flowKey.flow} </span>
          {flowKey.key}
        </h2>
        {story && <StatusBadge status={story.status} />}
        {story?.amount && <span className="text-[15px] font-medium tabular-nums">{amount(story.amount)}</span>}
      </div>
      <p className="mt-1 min-h-5 text-[13px] text-soft tabular-nums">
        {story && <Standing story={story} />}
      </p>
    </div>
  );
}

/** How long it took, or may still take. */
function Standing({ story }: { story: FlowStory }): ReactNode {
  const now = useNow();
  const opened = Date.parse(story.opened_at);
  const began = `First heard of at ${timeOfDay(opened)}`;
  if (story.time_to_match_seconds !== null) {
    return `${began}; complete ${span(story.time_to_match_seconds * 1000)} later.`;
  }
  if (story.settled_at !== null) return `${began}; settled ${span(Date.parse(story.settled_at) - opened)} later.`;
  const deadline = Date.parse(story.deadline);
  if (now < deadline) return `${began}; incomplete unless all is there in ${secondsUntil(deadline, now)} s.`;
  return `${began}; the deadline has passed, and the next sweep settles it.`;
}

function Story({ story }: { story: FlowStory }): ReactNode {
  return (
    <div className="grid grid-cols-1 gap-3 sm:gap-4 xl:grid-cols-3">
      <div className="flex min-w-0 flex-col gap-3 sm:gap-4 xl:col-span-2">
        <Issues story={story} />
        <Panel title="When each cloud spoke">
          <LegTrack story={story} />
        </Panel>
        <Panel title="What each cloud said">
          <Comparison story={story} />
        </Panel>
      </div>
      <Panel title="Step by step" className="self-start">
        <Timeline moments={story.timeline} />
      </Panel>
    </div>
  );
}
