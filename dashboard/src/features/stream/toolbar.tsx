import type { ReactNode } from "react";

import { CLOUD_NAMES, SOURCES, type Source } from "@/lib/clouds";
import { usePulse } from "@/live/keys";
import { setEventTime, setFilter, useAddress } from "@/state/address";
import { CloudMark } from "@/ui/cloud-mark";
import { cx } from "@/ui/class-names";
import { PeriodPicker } from "@/ui/period-picker";
import { SearchField } from "@/ui/search-field";

/** Filters the stream by text, cloud, type and time. */
export function Toolbar(): ReactNode {
  return (
    <div role="search" aria-label="Filter events" className="flex flex-wrap gap-2 px-4 pb-3 sm:px-5">
      <Search />
      <Clouds />
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

function Clouds(): ReactNode {
  const { source: chosen } = useAddress().filter;
  const choices: (Source | null)[] = [null, ...SOURCES];
  return (
    <div role="group" aria-label="Cloud" className="flex h-8 shrink-0 overflow-hidden rounded-lg border border-edge">
      {choices.map((source) => (
        <button
          key={source ?? "all"}
          type="button"
          aria-pressed={chosen === source}
          onClick={() => {
            setFilter({ source });
          }}
          className={cx(
            "inline-flex items-center gap-1.5 border-l border-line px-2.5 text-[13px] text-soft first:border-l-0",
            "hover:bg-raised focus-visible:-outline-offset-2",
            "aria-pressed:bg-raised aria-pressed:font-semibold aria-pressed:text-ink",
          )}
        >
          {source && <CloudMark source={source} className="size-2.5" />}
          {source ? CLOUD_NAMES[source] : "All"}
        </button>
      ))}
    </div>
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
