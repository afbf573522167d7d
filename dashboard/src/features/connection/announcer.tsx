import { useEffect, useRef, useState, type ReactNode } from "react";

import { plural } from "@/lib/format";
import { useConnection, useFeed, type Connection } from "@/live/keys";

const EVERY_MS = 30_000;

const CONNECTION: Record<Connection["phase"], string> = {
  connecting: "",
  live: "The live stream is connected.",
  waiting: "The live stream is disconnected. The page reconnects.",
};

/** Gives a screen reader one summary sentence per interval, since reading every event aloud would be unusable. */
export function Announcer(): ReactNode {
  const feed = useFeed();
  const { phase } = useConnection();
  const latest = useRef(feed);
  const [summary, setSummary] = useState("");

  useEffect(() => {
    latest.current = feed;
  }, [feed]);

  useEffect(() => {
    let last = latest.current;
    const timer = setInterval(() => {
      const more = latest.current.arrived - last.arrived;
      const atLeast = latest.current.undecided > last.undecided ? "At least " : "";
      last = latest.current;
      if (more > 0) setSummary(`${atLeast}${plural(more, "new event")} in the last ${EVERY_MS / 1000} seconds.`);
    }, EVERY_MS);
    return () => {
      clearInterval(timer);
    };
  }, []);

  return (
    <div className="sr-only">
      <p role="status">{CONNECTION[phase]}</p>
      <p role="status">{summary}</p>
    </div>
  );
}
