import { useEffect, useRef, useState, type ReactNode } from "react";

import { CLOUD_NAMES, SOURCES, type Source } from "@/lib/clouds";
import { usePulse } from "@/live/keys";
import { setFilter, useAddress } from "@/state/address";
import { CloudMark } from "@/ui/cloud-mark";
import { cx } from "@/ui/class-names";
import { Icon } from "@/ui/icons";

/** What narrows the stream: the cloud, the type, and a text. */
export function Toolbar(): ReactNode {
  return (
    <div role="search" aria-label="Filter the stream" className="flex flex-wrap gap-2 px-4 pb-3 sm:px-5">
      <Search />
      <Clouds />
      <Types />
    </div>
  );
}

export const SEARCH_ID = "search";
const TYPING_PAUSE_MS = 150;

/** Its own text while one types, the URL's otherwise. */
function Search(): ReactNode {
  const { text } = useAddress().filter;
  const [typed, setTyped] = useState(text);
  const [known, setKnown] = useState(text);
  if (text !== known) {
    setKnown(text);
    setTyped(text);
  }
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => { clearTimeout(timer.current); }, []);

  const type = (value: string): void => {
    setTyped(value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      setFilter({ text: value.trim() });
    }, TYPING_PAUSE_MS);
  };

  return (
    <div className="relative min-w-0 basis-full sm:flex-1 sm:basis-48">
      <Icon name="search" className="pointer-events-none absolute top-2 left-2.5 size-4 text-faint" />
      <input
        id={SEARCH_ID}
        type="search"
        value={typed}
        onChange={(event) => {
          type(event.target.value);
        }}
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          event.preventDefault();
          clearTimeout(timer.current);
          setTyped("");
          setFilter({ text: "" });
          event.currentTarget.blur();
        }}
        placeholder="Order, customer, id or type"
        aria-label="Search the stream"
        aria-keyshortcuts="/"
        autoComplete="off"
        spellCheck={false}
        className="h-8 w-full rounded-lg border border-edge bg-panel pr-8 pl-8.5 text-[13px] placeholder:text-faint"
      />
      {typed === "" && (
        <kbd
          aria-hidden
          className="pointer-events-none absolute top-1.75 right-2 hidden rounded border border-line bg-raised px-1.5 text-[11px] leading-4.5 text-faint sm:block"
        >
          /
        </kbd>
      )}
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

/** The types seen so far, and the one in the URL, which may not have come yet. */
function Types(): ReactNode {
  const { type } = useAddress().filter;
  const seen = usePulse()?.types ?? [];
  const types = type === null || seen.includes(type) ? seen : [type, ...seen];
  return (
    <select
      aria-label="Event type"
      value={type ?? ""}
      onChange={(event) => {
        setFilter({ type: event.target.value || null });
      }}
      className="h-8 min-w-36 flex-1 rounded-lg border border-edge bg-panel px-2 text-[13px] text-soft sm:max-w-44 sm:flex-none"
    >
      <option value="">Every type</option>
      {types.map((each) => (
        <option key={each}>{each}</option>
      ))}
    </select>
  );
}
