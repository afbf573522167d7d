import type { ReactNode } from "react";

import { ROWS_ID } from "@/lib/row-focus";
import { toRules } from "@/state/address";
import { Link } from "@/ui/link";
import { Panel } from "@/ui/panel";

import type { FlowRules } from "./api";

/** The flows: where the rules of each are, and whether a draft waits for its approval. */
export function FlowList({ flows, chosen }: { flows: readonly FlowRules[]; chosen: string | null }): ReactNode {
  return (
    <Panel title="Flows">
      <ul id={ROWS_ID} className="pb-2 text-[13px]">
        {flows.map((rules) => (
          <li key={rules.flow} className="border-t border-line">
            <Link
              to={toRules(rules.flow)}
              data-row
              aria-current={rules.flow === chosen ? "true" : undefined}
              className="flex min-h-11 flex-wrap items-center gap-x-3 px-4 py-1.5 hover:bg-raised focus-visible:-outline-offset-2 aria-[current]:bg-raised sm:px-5"
            >
              <span className="font-semibold break-all">{rules.flow}</span>
              <span className="text-soft">{ownerOf(rules)}</span>
              {rules.draft && !rules.read_only && <span className="text-warn">draft {rules.draft.version}</span>}
            </Link>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

/** Where the rules in force are. */
export function ownerOf({ owner, in_force }: FlowRules): string {
  if (owner === "file") return "in a file, read-only";
  if (in_force) return `version ${in_force.version}`;
  return owner === "shipped" ? "shipped with Helios" : "not in force";
}
