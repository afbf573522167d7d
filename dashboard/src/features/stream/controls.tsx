import type { ReactNode } from "react";

import { count, shortCount } from "@/lib/format";
import { useView } from "@/state/view";
import { Button } from "@/ui/button";
import { Icon } from "@/ui/icons";

interface ControlsProps {
  paused: boolean;
  /** The rows are held because the viewer works with them, not because of the button. */
  browsing: boolean;
  /** Events that arrived while the rows were held. */
  waiting: number;
  /** More events than `waiting` may have arrived. */
  atLeast: boolean;
  onResume: () => void;
}

/** The buttons to pause and resume; the latter shows how many events arrived. */
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
