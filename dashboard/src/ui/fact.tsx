import type { ReactNode } from "react";

/** A list of names and values. */
export function FactList({ children }: { children: ReactNode }): ReactNode {
  return <dl className="grid grid-cols-[6.5rem_1fr] gap-x-4 gap-y-1.5 text-[13px]">{children}</dl>;
}

/** One name and value; left out if the value is empty. */
export function Fact({ name, children }: { name: string; children: ReactNode }): ReactNode {
  if (!children) return null;
  return (
    <div className="contents">
      <dt className="text-faint">{name}</dt>
      <dd className="min-w-0 break-words">{children}</dd>
    </div>
  );
}
