/** The rows that are shown: live or held, with older events below them. */
import { useDeferredValue, useEffect, useMemo, useState } from "react";

import type { Filter } from "@/lib/filter";
import { useFeed } from "@/live/keys";
import { MAX_ROWS, type Feed, type Row } from "@/live/model";
import { useLiveClient } from "@/live/provider";
import { useAddress } from "@/state/address";

import { useHistory, type History } from "./api";

export interface Rows {
  rows: readonly Row[];
  /** How many matching events came while the rows were held. */
  waiting: number;
  /** There may be more: the stream told of some only how many they were. */
  atLeast: boolean;
  sampled: boolean;
  history: History;
}

/** @param held the rows stay as they are, while the stream goes on behind them. */
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
 * The feed, or what was on the screen when holding began: not the feed of that moment, which may be newer and would
 * move the row that is being pressed just then. Another filter is applied to held rows too.
 */
function useHeld(feed: Feed, held: boolean): Feed {
  const [shown, setShown] = useState(feed);
  const follows = !held || shown.filter !== feed.filter;
  if (follows && shown !== feed) setShown(feed);
  return follows ? feed : shown;
}

/** Fill up with older events; what both have is shown once. */
export function withHistory(live: readonly Row[], history: readonly Row[]): readonly Row[] {
  if (live.length >= MAX_ROWS || history.length === 0) return live;
  const known = new Set(live.map((row) => row.key));
  return [...live, ...history.filter((row) => !known.has(row.key))]
    .sort((one, other) => other.receivedAt - one.receivedAt)
    .slice(0, MAX_ROWS);
}
