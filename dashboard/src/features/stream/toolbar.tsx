import type { ReactNode } from "react";

import { sourceName, sources, type Source, type SourceInfo } from "@/lib/sources";
import { usePulse } from "@/live/keys";
import { setEventTime, setFilter, useAddress } from "@/state/address";
import { SourceMark } from "@/ui/source-mark";
import { cx } from "@/ui/class-names";
import { PeriodPicker } from "@/ui/period-picker";
import { SearchField } from "@/ui/search-field";
import { Select } from "@/ui/select";

/** Filters the stream by text, source, type and time. */
export function Toolbar(): ReactNode {
  return (
    <div role="search" aria-label="Filter events" className="flex flex-wrap gap-2 px-4 pb-3 sm:px-5">
      <Search />
      <Sources />
      <Types />
      <When />
    </div>
  );
}

function Search(): ReactNode {
  const { text } = useAddress().filter;
  return (
    <SearchField
      label="Search events"
      placeholder="Order, customer, ID or type"
      value={text}
      onChange={(value) => {
        setFilter({ text: value });
      }}
    />
  );
}

/** Selects live events or a period. */
function When(): ReactNode {
  const { time } = useAddress();
  return (
    <div className="flex min-w-0 max-w-full basis-full flex-wrap gap-2">
      <PeriodPicker label="Time" none="Live" chosen={time} onChange={setEventTime} />
    </div>
  );
}

/** The most sources that are buttons beside each other; more are a list to choose from. */
const MAX_BUTTONS = 4;

function Sources(): ReactNode {
  const { source: chosen } = useAddress().filter;
  const infos = sources();
  // A source that is no longer declared can be in the address.
  if (infos.length > MAX_BUTTONS || (chosen !== null && !infos.some(({ name }) => name === chosen))) return <SourceList chosen={chosen} />;
  const choices: (SourceInfo | null)[] = [null, ...infos];
  return (
    <div role="group" aria-label="Source" className="flex h-8 max-w-full shrink-0 overflow-x-auto overflow-y-hidden rounded-lg border border-edge">
      {choices.map((info) => (
        <button
          key={info?.name ?? "all"}
          type="button"
          aria-pressed={chosen === (info?.name ?? null)}
          onClick={() => {
            setFilter({ source: info?.name ?? null });
          }}
          className={cx(
            "inline-flex items-center gap-1.5 border-l border-line px-2.5 text-[13px] whitespace-nowrap text-soft first:border-l-0",
            "hover:bg-raised focus-visible:-outline-offset-2",
            "aria-pressed:bg-raised aria-pressed:font-semibold aria-pressed:text-ink",
          )}
        >
          {info && <SourceMark source={info.name} className="size-2.5" />}
          {info?.label ?? "All"}
        </button>
      ))}
    </div>
  );
}

function SourceList({ chosen }: { chosen: Source | null }): ReactNode {
  const names = sources().map(({ name }) => name);
  const all = chosen === null || names.includes(chosen) ? names : [chosen, ...names];
  return (
    <Select
      label="Source"
      any="All sources"
      value={chosen}
      choices={all.map((name) => [name, sourceName(name)] as const)}
      onChange={(source) => {
        setFilter({ source });
      }}
    />
  );
}

/** The types received so far, and the type in the URL, which may not have been received yet. */
function Types(): ReactNode {
  const { type } = useAddress().filter;
  const received = usePulse()?.types ?? [];
  const types = type === null || received.includes(type) ? received : [type, ...received];
  return (
    <select
      aria-label="Event type"
      value={type ?? ""}
      onChange={(event) => {
        setFilter({ type: event.target.value || null });
      }}
      className="h-8 min-w-28 flex-1 rounded-lg border border-edge bg-panel px-2 text-[13px] text-soft sm:max-w-44 sm:flex-none"
    >
      <option value="">All types</option>
      {types.map((each) => (
        <option key={each}>{each}</option>
      ))}
    </select>
  );
}
