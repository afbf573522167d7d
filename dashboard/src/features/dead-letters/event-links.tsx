import type { ReactNode } from "react";

import { keyText, type EventKey } from "@/lib/event-key";
import { toDeadLetter, toEvent } from "@/state/address";
import { Link } from "@/ui/link";

/** Links to the events that a dead letter became. */
export function EventLinks({ keys }: { keys: readonly EventKey[] }): ReactNode {
  return keys.map((key) => (
    <Link
      key={keyText(key)}
      to={{ ...toEvent(key), ...toDeadLetter(null) }}
      className="block font-mono text-xs break-all text-accent underline underline-offset-2"
    >
      {key.source}/{key.id}
    </Link>
  ));
}
