import type { ReactNode } from "react";

import { cx } from "./class-names";

/** Scrolls what does not fit, also by keyboard: it can be focused where nothing in it can. */
export function Scrolling({ label, className, children }: { label: string; className?: string; children: ReactNode }): ReactNode {
  return (
    <div
      role="region"
      aria-label={label}
      // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
      tabIndex={0}
      className={cx("overflow-auto focus-visible:-outline-offset-2", className)}
    >
      {children}
    </div>
  );
}
