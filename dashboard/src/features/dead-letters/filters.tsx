import type { ReactNode } from "react";

import { sourceName, sources, UNKNOWN, type Source } from "@/lib/sources";
import { DEAD_LETTER_STATUSES, setDeadLetterFilter, useAddress } from "@/state/address";
import { Icon } from "@/ui/icons";
import { SearchField } from "@/ui/search-field";
import { Select } from "@/ui/select";

const STATUSES = DEAD_LETTER_STATUSES.map((status) => [status, status] as const);
const REPLAYED = [
  ["no", "Not replayed"],
  ["yes", "Replayed"],
] as const;

/** Every source, and the one in the address, which may not be declared any more. */
function choices(chosen: Source | null): [Source, string][] {
  const names = [...sources().map(({ name }) => name), UNKNOWN];
  const all = chosen === null || names.includes(chosen) ? names : [chosen, ...names];
  return all.map((name) => [name, name === UNKNOWN ? "Unknown" : sourceName(name)]);
}

/** Filters the dead letters by field, source, status and replay. */
export function Filters(): ReactNode {
  const { cloud, status, field, reason, replayed } = useAddress().deadLetters;
  return (
    <div role="search" aria-label="Filter dead letters" className="flex flex-wrap gap-2 px-4 pb-3 sm:px-5">
      <SearchField
        label="Field"
        placeholder="Exact field name"
        value={field ?? ""}
        onChange={(value) => {
          setDeadLetterFilter({ field: value || null });
        }}
      />
      <Select label="Source" any="All sources" value={cloud} choices={choices(cloud)} onChange={(value) => { setDeadLetterFilter({ cloud: value }); }} />
      <Select label="Status" any="All statuses" value={status} choices={STATUSES} onChange={(value) => { setDeadLetterFilter({ status: value }); }} />
      <Select label="Replay" any="Replayed or not" value={replayed} choices={REPLAYED} onChange={(value) => { setDeadLetterFilter({ replayed: value }); }} />
      {reason !== null && (
        <button
          type="button"
          onClick={() => {
            setDeadLetterFilter({ reason: null });
          }}
          className="inline-flex min-h-8 max-w-full items-center gap-1.5 rounded-lg bg-raised px-2.5 text-left text-[13px] hover:text-soft"
        >
          <span className="sr-only">Remove the reason filter: </span>
          <span className="truncate">{reason}</span>
          <Icon name="close" className="size-3.5" />
        </button>
      )}
    </div>
  );
}
