/** The rows of the list: live or held, with older events below them. */
import { useDeferredValue, useEffect, useMemo, useState } from "react";

import type { Filter } from "@/lib/filter";
import { useFeed } from "@/live/keys";
import { MAX_ROWS, type Feed, type Row } from "@/live/model";
import { useLiveClient } from "@/live/provider";
import { useAddress } from "@/state/address";

import { useHistory, type History } from "./api";

export interface Rows {
  rows: readonly Row[];
  /** Matching events that arrived while the rows were held. */
  waiting: number;
  /** More events may match: for some events the stream reported only a number. */
  atLeast: boolean;
  sampled: boolean;
  history: History;
}

/** @param held keep the rows as they are; the stream continues in the background. */
export function useRows(held: boolean): Rows {
  const { filter } = useAddress();
  useLiveFilter(filter);
  const feed = useFeed();
  const shown = useHeld(feed, held);
  const history = useHistory(useDeferredValue(filter));
  const rows = useMemo(() => withHistory(shown.rows, history.data ?? []), [shown.rows, history.data]);
  return {
    rows,
    waiting: feed.arrived - shown.arrived,
    atLeast: feed.undecided > shown.undecided,
    sampled: feed.sampled,
    history,
  };
}

function useLiveFilter(filter: Filter): void {
  const client = useLiveClient();
  useEffect(() => {
    client.setFilter(filter);
  }, [client, filter]);
}

/**
 * The feed, or the rows that were on the screen when holding began. The feed of that moment may be newer, and would
 * move the row that the viewer is pressing. A new filter applies to held rows too.
 */
function useHeld(feed: Feed, held: boolean): Feed {
  const [shown, setShown] = useState(feed);
  const follows = !held || shown.filter !== feed.filter;
  if (follows && shown !== feed) setShown(feed);
  return follows ? feed : shown;
}

/** Appends older events to the live rows, without duplicates. */
export function withHistory(live: readonly Row[], history: readonly Row[]): readonly Row[] {
  if (live.length >= MAX_ROWS || history.length === 0) return live;
  const known = new Set(live.map((row) => row.key));
  return [...live, ...history.filter((row) => !known.has(row.key))]
    .sort((one, other) => other.receivedAt - one.receivedAt)
    .slice(0, MAX_ROWS);
}
