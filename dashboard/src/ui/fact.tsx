import type { ReactNode } from "react";

/** Names and what they stand for, side by side. */
export function FactList({ children }: { children: ReactNode }): ReactNode {
  return <dl className="grid grid-cols-[6.5rem_1fr] gap-x-4 gap-y-1.5 text-[13px]">{children}</dl>;
}

/** One of them; left out when there is nothing to say. */
export function Fact({ name, children }: { name: string; children: ReactNode }): ReactNode {
  if (!children) return null;
  return (
    <div className="contents">
      <dt className="text-faint">{name}</dt>
      <dd className="min-w-0 break-words">{children}</dd>
    </div>
  );
}
