/** The flow changes in the frames: exact counts of status changes, and the latest change of each instance. */
import type { FlowChange } from "@/api/flows";
import { STATUSES, type FlowStatus } from "@/lib/flows";

import type { Frame } from "./protocol";
import { Sums, type Positioned } from "./sums";

export type StatusCounts = Readonly<Record<FlowStatus, number>>;

export interface FlowStatusCounts extends Positioned {
  /**
   * By flow: the changes of each status since the page was opened. Only differences between two values are meaningful.
   */
  statuses: Readonly<Record<string, StatusCounts>>;
}

export interface LiveFlows extends FlowStatusCounts {
  /** The latest change of each flow instance that a frame named, by `flowInstanceId`. */
  changes: ReadonlyMap<string, FlowChange>;
}

export const noStatuses = (): Record<FlowStatus, number> => ({
  mismatched: 0,
  incomplete: 0,
  matched_late: 0,
  open: 0,
  matched: 0,
});

export const flowInstanceId = ({ flow, key }: { flow: string; key: string }): string => `${flow}/${key}`;

const MAX_CHANGES = 500;

export const NO_FLOWS: LiveFlows = { position: null, statuses: {}, changes: new Map() };

export class FlowsModel {
  private readonly sums = new Sums<FlowStatusCounts>({ position: null, statuses: {} });
  private readonly changes = new Map<string, FlowChange>();
  private snapshot: LiveFlows | null = null;

  fold(frames: readonly Frame[]): void {
    for (const { position, flows = [], flow_statuses = {} } of frames) {
      if (flows.length === 0 && Object.keys(flow_statuses).length === 0) continue;
      this.snapshot = null;
      for (const change of flows) this.setChange(change);
      this.count(position, flow_statuses);
    }
  }

  /** The stream restarted. */
  restart(): void {
    this.snapshot = null;
    this.sums.restart();
  }

  /** Returns the same object as before if nothing has changed. */
  read(): LiveFlows {
    this.snapshot ??= { ...this.sums.latest, changes: new Map(this.changes) };
    return this.snapshot;
  }

  /** The status counts at a position; `now` if the stream has not reached it. */
  countsAt(position: number, now: LiveFlows): FlowStatusCounts {
    return this.sums.at(position, now);
  }

  private setChange(change: FlowChange): void {
    const id = flowInstanceId(change);
    this.changes.delete(id); // a Map keeps the order of insertion
    this.changes.set(id, change);
    const [oldest] = this.changes.keys();
    if (oldest && this.changes.size > MAX_CHANGES) this.changes.delete(oldest);
  }

  private count(position: number, deltas: NonNullable<Frame["flow_statuses"]>): void {
    const statuses = { ...this.sums.latest.statuses };
    for (const [flow, changed] of Object.entries(deltas)) {
      const counts = { ...(statuses[flow] ?? noStatuses()) };
      for (const status of STATUSES) counts[status] += changed[status] ?? 0;
      statuses[flow] = counts;
    }
    this.sums.add({ position, statuses });
  }
}
