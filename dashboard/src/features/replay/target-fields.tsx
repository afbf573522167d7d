import type { ReactNode } from "react";

import type { ReplayTarget } from "@/api/replay";
import { isSource } from "@/lib/clouds";
import { sourceName } from "@/lib/flows";
import type { DeadLetterSource } from "@/state/address";

/** Where to. */
export interface TargetDraft {
  kind: ReplayTarget["kind"];
  url: string;
}

interface TargetFieldsProps {
  aim: TargetDraft;
  /** Whose events they are; null: of several clouds. */
  source: DeadLetterSource | null;
  onChange: (aim: TargetDraft) => void;
}

/** Stored events can be sent to whoever watches, to a webhook, or back to the cloud that they came from. */
export function TargetFields({ aim, source, onChange }: TargetFieldsProps): ReactNode {
  const cloud = isSource(source) ? sourceName(source) : "Source cloud (filter by one cloud first)";
  const kinds: [TargetDraft["kind"], string][] = [
    ["relay", "Live stream"],
    ["webhook", "Webhook"],
    ["cloud", cloud],
  ];
  return (
    <fieldset className="flex flex-col gap-1.5">
      <legend className="mb-1.5 font-medium">Target</legend>
      {kinds.map(([kind, name]) => (
        <label key={kind} className="flex min-h-6 items-center gap-2.5">
          <input
            type="radio"
            name="target"
            checked={aim.kind === kind}
            disabled={kind === "cloud" && !isSource(source)}
            onChange={() => {
              onChange({ ...aim, kind });
            }}
            className="size-4 accent-accent"
          />
          {name}
        </label>
      ))}
      {aim.kind === "webhook" && (
        <input
          type="url"
          required
          aria-label="Webhook URL"
          placeholder="https://"
          value={aim.url}
          onChange={({ target }) => {
            onChange({ ...aim, url: target.value });
          }}
          className="h-8 rounded-lg border border-edge bg-panel px-2.5"
        />
      )}
    </fieldset>
  );
}
