/** What the frames say about flows: how many changed their status, exactly, and which changed last. */
import type { FlowChange } from "@/api/flows";
import { STATUSES, type FlowStatus } from "@/lib/flows";

import type { Frame } from "./protocol";

export type StatusCounts = Readonly<Record<FlowStatus, number>>;

export interface LiveFlows {
  /** By flow: what the frames added to each status since the page was opened; only differences mean anything. */
  statuses: Readonly<Record<string, StatusCounts>>;
  /** The last change of each story that a frame named, under its `storyId`. */
  changes: ReadonlyMap<string, FlowChange>;
}

export const noStatuses = (): Record<FlowStatus, number> => ({
  mismatched: 0,
  incomplete: 0,
  matched_late: 0,
  open: 0,
  matched: 0,
});

export const storyId = ({ flow, key }: { flow: string; key: string }): string => `${flow}/${key}`;

const MAX_CHANGES = 500;

export class FlowsModel {
  private readonly statuses: Record<string, Record<FlowStatus, number>> = {};
  private readonly changes = new Map<string, FlowChange>();
  private snapshot: LiveFlows | null = null;

  /** @param live false: the counts were fetched meanwhile, with these in them. */
  fold(frames: readonly Frame[], live: boolean): void {
    for (const { flows = [], flow_statuses = {} } of frames) {
      if (flows.length === 0 && Object.keys(flow_statuses).length === 0) continue;
      this.snapshot = null;
      for (const change of flows) this.remember(change);
      if (live) this.count(flow_statuses);
    }
  }

  /** The same as before while nothing came. */
  read(): LiveFlows {
    this.snapshot ??= {
      statuses: Object.fromEntries(Object.entries(this.statuses).map(([flow, counts]) => [flow, { ...counts }])),
      changes: new Map(this.changes),
    };
    return this.snapshot;
  }

  private remember(change: FlowChange): void {
    const id = storyId(change);
    this.changes.delete(id); // so that it goes to the end
    this.changes.set(id, change);
    const [oldest] = this.changes.keys();
    if (oldest && this.changes.size > MAX_CHANGES) this.changes.delete(oldest);
  }

  private count(deltas: NonNullable<Frame["flow_statuses"]>): void {
    for (const [flow, changed] of Object.entries(deltas)) {
      const counts = (this.statuses[flow] ??= noStatuses());
      for (const status of STATUSES) counts[status] += changed[status] ?? 0;
    }
  }
}
