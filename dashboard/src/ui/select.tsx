import type { ReactNode } from "react";

import { cx } from "./class-names";

interface SelectProps<T extends string> {
  label: string;
  /** The label of null, which selects everything. */
  any: string;
  value: T | null;
  choices: readonly (readonly [value: T, name: string])[];
  onChange: (value: T | null) => void;
  className?: string;
}

/** A choice of one option, or any. */
export function Select<T extends string>({ label, any, value, choices, onChange, className }: SelectProps<T>): ReactNode {
  return (
    <select
      aria-label={label}
      value={value ?? ""}
      onChange={(event) => {
        onChange((event.target.value || null) as T | null);
      }}
      className={cx("h-8 rounded-lg border border-edge bg-panel px-2 text-[13px] text-soft", className)}
    >
      <option value="">{any}</option>
      {choices.map(([each, name]) => (
        <option key={each} value={each}>
          {name}
        </option>
      ))}
    </select>
  );
}
