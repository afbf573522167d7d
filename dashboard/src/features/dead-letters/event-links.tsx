import type { ReactNode } from "react";

import { isSource } from "@/lib/clouds";
import { toEvent, toDeadLetter } from "@/state/address";
import { Link } from "@/ui/link";

/** Links to the events that a dead letter became. */
export function EventLinks({ keys }: { keys: readonly string[] }): ReactNode {
  return keys.map((key) => {
    const at = key.indexOf("/");
    const [source, id] = [key.slice(0, at), key.slice(at + 1)];
    if (!isSource(source)) return null;
    return (
      <Link
        key={key}
        to={{ ...toEvent({ source, id }), ...toDeadLetter(null) }}
        className="block font-mono text-xs break-all text-accent underline underline-offset-2"
      >
        {key}
      </Link>
    );
  });
}
