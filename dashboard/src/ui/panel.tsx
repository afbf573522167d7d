import { useId, type ReactNode } from "react";

import { cx } from "./class-names";

interface PanelProps {
  title: string;
  /** A text or control to the right of the title. */
  aside?: ReactNode;
  className?: string;
  children: ReactNode;
}

/** A section of the page with a title. */
export function Panel({ title, aside, className, children }: PanelProps): ReactNode {
  const id = useId();
  return (
    <section
      aria-labelledby={id}
      className={cx("flex min-w-0 flex-col rounded-xl border border-line bg-panel shadow-panel", className)}
    >
      <header className="flex min-h-12 flex-wrap items-center justify-between gap-x-4 gap-y-1 px-4 pt-3 pb-2 sm:px-5">
        <h2 id={id} className="text-sm font-semibold tracking-tight">
          {title}
        </h2>
        {aside}
      </header>
      {children}
    </section>
  );
}
