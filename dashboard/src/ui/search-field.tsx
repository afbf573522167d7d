import { useEffect, useRef, useState, type ReactNode } from "react";

import { Icon } from "./icons";

export const SEARCH_ID = "search";
const TYPING_PAUSE_MS = 150;

interface SearchFieldProps {
  label: string;
  placeholder: string;
  value: string;
  onChange: (value: string) => void;
}

/** The search of a view. It shows the typed text while the viewer types, and the property `value` otherwise. */
export function SearchField({ label, placeholder, value, onChange }: SearchFieldProps): ReactNode {
  const [typed, setTyped] = useState(value);
  const [known, setKnown] = useState(value);
  if (value !== known) {
    setKnown(value);
    setTyped(value);
  }
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => { clearTimeout(timer.current); }, []);

  const type = (text: string): void => {
    setTyped(text);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      onChange(text.trim());
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
          onChange("");
          event.currentTarget.blur();
        }}
        placeholder={placeholder}
        aria-label={label}
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
