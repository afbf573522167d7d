import type { ReactNode } from "react";

const moment = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

/** A date and time, in the viewer's time zone. */
export function Moment({ at }: { at: string }): ReactNode {
  return <time dateTime={at}>{moment.format(Date.parse(at))}</time>;
}
