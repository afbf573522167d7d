import type { ReactNode } from "react";

import { secondsUntil } from "@/lib/format";
import { useNow } from "@/lib/use-now";
import { useConnection, type Connection } from "@/live/keys";
import { useLiveClient } from "@/live/provider";
import { Button } from "@/ui/button";
import { cx } from "@/ui/class-names";

const COLORS: Record<Connection["phase"], string> = {
  connecting: "bg-raised text-soft",
  live: "bg-good-soft text-good",
  waiting: "bg-bad-soft text-bad",
};

/** Whether the stream is live; if not, when the page reconnects. */
export function ConnectionBadge(): ReactNode {
  const connection = useConnection();
  const client = useLiveClient();
  const now = useNow();
  return (
    <div className="flex items-center gap-2">
      <span
        data-phase={connection.phase}
        className={cx(
          "inline-flex h-7 items-center gap-2 rounded-full px-3 text-xs font-semibold tabular-nums",
          COLORS[connection.phase],
        )}
      >
        <Dot live={connection.phase === "live"} />
        {words(connection, now)}
      </span>
      {connection.phase === "waiting" && (
        <Button className="h-7 px-2.5 text-xs" onClick={client.retryNow}>
          Retry now
        </Button>
      )}
    </div>
  );
}

function words(connection: Connection, now: number): string {
  switch (connection.phase) {
    case "live":
      return connection.catchingUp ? "Catching up" : "Live";
    case "connecting":
      return "Connecting";
    case "waiting":
      return `Reconnecting in ${secondsUntil(connection.retryAt, now)} s`;
  }
}

/** Pulses while live; hollow otherwise. */
function Dot({ live }: { live: boolean }): ReactNode {
  if (!live) return <span aria-hidden className="size-2 rounded-full border-2 border-current" />;
  return (
    <span aria-hidden className="relative size-2">
      <span className="absolute inset-0 animate-beat rounded-full bg-current" />
      <span className="absolute inset-0 rounded-full bg-current" />
    </span>
  );
}
