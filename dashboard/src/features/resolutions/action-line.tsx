import type { ReactNode } from "react";

import { count } from "@/lib/format";
import { STEP_DONE } from "@/lib/resolutions";
import { Button } from "@/ui/button";
import { Moment } from "@/ui/moment";
import { Refusal } from "@/ui/refusal";

import { useUndo, type ResolutionAction } from "./api";

/** One step that somebody took, and the button that undoes it. */
export function ActionLine({ action }: { action: ResolutionAction }): ReactNode {
  const { mutate, isPending, error } = useUndo();
  const { id, actor, at, text, assignee, step, instances, undone_by } = action;
  const what = step === "assign" ? `assigned it to ${assignee ?? "nobody"}` : STEP_DONE[step];
  return (
    <li className="border-t border-line py-2 first:border-t-0">
      <div className="flex items-start justify-between gap-3">
        <span className="min-w-0 break-words">
          <span className="font-medium">{actor}</span> <span className="text-soft">{what}</span>
          {instances > 1 && <span className="text-faint"> ({count(instances)} orders)</span>}
          {text && <span className="block text-soft">{text}</span>}
          <span className="block text-xs text-faint">
            <Moment at={at} />
            {undone_by !== null && ", undone"}
          </span>
        </span>
        {id !== null && step !== "undo" && undone_by === null && (
          <Button
            look="quiet"
            disabled={isPending}
            onClick={() => {
              mutate(id);
            }}
          >
            Undo
          </Button>
        )}
      </div>
      {error && <Refusal error={error} scope="resolve" />}
    </li>
  );
}
