import type { ReactNode } from "react";

/** A command or a name in a monospaced font. */
export function Code({ children }: { children: ReactNode }): ReactNode {
  return (
    <code className="rounded bg-raised px-1 py-0.5 font-mono text-[12px] break-words text-ink">{children}</code>
  );
}
