import type { ReactNode } from "react";

import { Button } from "./button";

interface NoticeProps {
  title: string;
  /** The next step for the viewer. */
  children?: ReactNode;
  tone?: "plain" | "bad";
  onRetry?: () => void;
}

/** Replaces missing content: explains why it is missing, and what the viewer can do. */
export function Notice({ title, children, tone = "plain", onRetry }: NoticeProps): ReactNode {
  return (
    <div
      role={tone === "bad" ? "alert" : undefined}
      className="flex flex-col items-center gap-1.5 px-6 py-8 text-center text-[13px] text-soft"
    >
      <p className={tone === "bad" ? "font-semibold text-bad" : "font-semibold text-ink"}>{title}</p>
      {children && <div className="max-w-md text-balance">{children}</div>}
      {onRetry && (
        <Button className="mt-2" onClick={onRetry}>
          Try again
        </Button>
      )}
    </div>
  );
}

/** A placeholder while a value is loading. */
export function Skeleton({ className }: { className: string }): ReactNode {
  return <span aria-hidden className={`block animate-pulse rounded-md bg-raised ${className}`} />;
}
