import type { ComponentProps, ReactNode } from "react";

import { PERIOD_NAMES, PERIODS, startOf, type Period, type Range } from "@/lib/flows";
import { localMinute } from "@/lib/format";
import { serverNow } from "@/lib/server-clock";

/** A period that ends now, or entered bounds; null: live. */
export type Time<P = Period> = Range & { period: P };

interface PeriodPickerProps<P extends Period | null> {
  label: string;
  chosen: Time<P>;
  /** The label of the choice without a period, if there is one. */
  none?: string;
  onChange: (change: Partial<Time<P>>) => void;
}

export function PeriodPicker<P extends Period | null>({ label, chosen, none, onChange }: PeriodPickerProps<P>): ReactNode {
  const { period: current, from, to } = chosen;
  const custom = from !== null || to !== null;
  const choices = [...(none ? [null] : []), ...(Object.keys(PERIODS) as Period[])] as P[];
  return (
    <>
      <div role="group" aria-label={label} className="flex h-8 max-w-full overflow-x-auto overflow-y-hidden rounded-lg border border-edge bg-panel">
        {choices.map((period) => (
          <PeriodButton
            key={period}
            pressed={!custom && current === period}
            onClick={() => {
              onChange({ period, from: null, to: null });
            }}
          >
            {period ? PERIOD_NAMES[period] : none}
          </PeriodButton>
        ))}
        <PeriodButton
          pressed={custom}
          onClick={() => {
            if (!custom) onChange({ from: startOf(current ?? "1h", serverNow()) });
          }}
        >
          Custom
        </PeriodButton>
      </div>
      {custom && (
        <>
          <Moment label="From" value={from} onChange={(moment) => { onChange({ from: moment }); }} />
          <Moment label="to" value={to} onChange={(moment) => { onChange({ to: moment }); }} />
        </>
      )}
    </>
  );
}

function PeriodButton({ pressed, ...rest }: ComponentProps<"button"> & { pressed: boolean }): ReactNode {
  return (
    <button
      type="button"
      aria-pressed={pressed}
      className="shrink-0 border-l border-line px-1.5 text-[12px] sm:px-2.5 sm:text-[13px] whitespace-nowrap text-soft first:border-l-0 hover:bg-raised focus-visible:-outline-offset-2 aria-pressed:bg-raised aria-pressed:font-semibold aria-pressed:text-ink"
      {...rest}
    />
  );
}

interface MomentProps {
  label: string;
  value: string | null;
  onChange: (moment: string | null) => void;
}

/** A time in the viewer's time zone; empty leaves the bound open. */
function Moment({ label, value, onChange }: MomentProps): ReactNode {
  return (
    <label className="flex items-center gap-1.5 text-[13px] text-soft">
      {label}
      <input
        type="datetime-local"
        value={value ? localMinute(Date.parse(value)) : ""}
        onChange={({ target }) => {
          onChange(target.value ? new Date(target.value).toISOString() : null);
        }}
        className="h-8 rounded-lg border border-edge bg-panel px-2 text-ink tabular-nums"
      />
    </label>
  );
}
