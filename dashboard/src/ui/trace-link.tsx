import type { ReactNode } from "react";

import type { Schemas } from "@/api/http";

/** Where the trace of an event is shown; its id alone where no address is set. */
export function TraceLink({ trace }: { trace: Schemas["Trace"] }): ReactNode {
  const id = <code className="font-mono text-xs break-all">{trace.id}</code>;
  if (trace.url === null) return id;
  return (
    <a
      href={trace.url}
      target="_blank"
      rel="noreferrer"
      className="text-accent underline underline-offset-2"
    >
      {id}
      <span className="sr-only">: show this trace in a new tab</span>
    </a>
  );
}
