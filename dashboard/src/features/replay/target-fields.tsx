import type { ReactNode } from "react";

import type { ReplayTarget } from "@/api/replay";
import { isCloud, sourceName, type Source } from "@/lib/sources";

/** The target as the form holds it. */
export interface TargetDraft {
  kind: ReplayTarget["kind"];
  url: string;
}

interface TargetFieldsProps {
  aim: TargetDraft;
  /** The source of the selected events; null: several sources. */
  source: Source | null;
  onChange: (aim: TargetDraft) => void;
}

/** The targets of stored events: the live stream, a webhook, or the cloud that the events came from. */
export function TargetFields({ aim, source, onChange }: TargetFieldsProps): ReactNode {
  const cloud = isCloud(source) ? sourceName(source) : "Source cloud (filter by one cloud first)";
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
            disabled={kind === "cloud" && !isCloud(source)}
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
