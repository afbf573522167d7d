import type { ReactNode } from "react";

import { count, shortCount } from "@/lib/format";
import { useView } from "@/state/view";
import { Button } from "@/ui/button";
import { Icon } from "@/ui/icons";

interface ControlsProps {
  paused: boolean;
  /** Held without having been asked to. */
  browsing: boolean;
  /** Events that came meanwhile. */
  waiting: number;
  /** And perhaps more. */
  atLeast: boolean;
  onResume: () => void;
}

/** Pause, and the way back, which tells what one would see. */
export function Controls({ paused, browsing, waiting, atLeast, onResume }: ControlsProps): ReactNode {
  const { setPaused } = useView();
  if (!paused && !browsing) {
    return (
      <Button
        aria-keyshortcuts="Space"
        onClick={() => {
          setPaused(true);
        }}
      >
        <Icon name="pause" className="size-3.5" />
        Pause
      </Button>
    );
  }
  return (
    <div className="flex items-center gap-3">
      <span className="text-xs text-soft">{paused ? "Paused" : "On hold while you browse"}</span>
      <Button
        look="filled"
        className="tabular-nums"
        aria-label={waiting > 0 ? `${atLeast ? "at least " : ""}${count(waiting)} new, resume` : undefined}
        aria-keyshortcuts="Space"
        onClick={onResume}
      >
        <Icon name={paused ? "play" : "up"} className="size-3.5" />
        {waiting > 0 ? `${shortCount(waiting)}${atLeast ? "+" : ""} new` : "Resume"}
      </Button>
    </div>
  );
}
