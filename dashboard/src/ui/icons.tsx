import type { ReactNode } from "react";

const PATHS = {
  search: "M7 12a5 5 0 1 0 0-10 5 5 0 0 0 0 10Zm3.7-1.3L14 14",
  close: "m3.5 3.5 9 9m0-9-9 9",
  copy: "M5.5 5.5V3.2c0-.4.3-.7.7-.7h6.6c.4 0 .7.3.7.7v6.6c0 .4-.3.7-.7.7h-2.3M3.2 5.5h6.6c.4 0 .7.3.7.7v6.6c0 .4-.3.7-.7.7H3.2c-.4 0-.7-.3-.7-.7V6.2c0-.4.3-.7.7-.7Z",
  check: "m3 8.5 3.3 3.3L13 4.8",
  pause: "M5.5 3v10M10.5 3v10",
  play: "M4.5 2.8v10.4L13 8Z",
  back: "M13 8H3m0 0 4.5-4.5M3 8l4.5 4.5",
  up: "M8 13V3m0 0L3.5 7.5M8 3l4.5 4.5",
  replay: "M3 8a5 5 0 1 0 1.6-3.7L2.8 6m0-3.4V6h3.4",
  sun: "M8 10.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6ZM8 1.2v1.4m0 10.8v1.4M1.2 8h1.4m10.8 0h1.4M3.2 3.2l1 1m7.6 7.6 1 1m0-9.6-1 1m-7.6 7.6-1 1",
  moon: "M13.5 9.6A5.8 5.8 0 0 1 6.4 2.5a5.8 5.8 0 1 0 7.1 7.1Z",
  screen: "M2 3.2h12v7.6H2ZM5.5 13.5h5M8 10.8v2.7",
  keyboard: "M1.8 4h12.4v8H1.8ZM4.4 6.6h.01M7 6.6h.01M9.6 6.6h.01M11.8 6.6h.01M5 9.4h6",
} as const;

export type IconName = keyof typeof PATHS;

/** A decorative icon beside text, or inside a control that has a label. */
export function Icon({ name, className = "size-4" }: { name: IconName; className?: string }): ReactNode {
  return (
    <svg
      viewBox="0 0 16 16"
      aria-hidden
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      strokeLinejoin="round"
      className={`shrink-0 ${className}`}
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
