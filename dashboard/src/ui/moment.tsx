import type { ReactNode } from "react";

const moment = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

/** A date and a time, by the viewer's clock. */
export function Moment({ at }: { at: string }): ReactNode {
  return <time dateTime={at}>{moment.format(Date.parse(at))}</time>;
}
