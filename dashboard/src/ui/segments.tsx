import type { ReactNode } from "react";

interface SegmentsProps<T extends string> {
  label: string;
  value: T;
  choices: readonly (readonly [value: T, name: string])[];
  onChange: (value: T) => void;
}

/** A choice of one, with all options visible. */
export function Segments<T extends string>({ label, value, choices, onChange }: SegmentsProps<T>): ReactNode {
  return (
    <div role="group" aria-label={label} className="flex min-h-8 flex-wrap overflow-hidden rounded-lg border border-edge">
      {choices.map(([each, name]) => (
        <button
          key={each}
          type="button"
          aria-pressed={value === each}
          onClick={() => {
            onChange(each);
          }}
          className="h-[30px] grow border-l border-line px-3 whitespace-nowrap text-[13px] text-soft first:border-l-0 hover:bg-raised focus-visible:-outline-offset-2 aria-pressed:bg-raised aria-pressed:font-semibold aria-pressed:text-ink"
        >
          {name}
        </button>
      ))}
    </div>
  );
}
