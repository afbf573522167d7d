import { beforeEach, expect, test } from "vitest";

import { keyText } from "@/lib/event-key";
import { NO_FILTER } from "@/lib/filter";
import { LiveModel, MAX_ROWS, type Row } from "@/live/model";
import type { Frame } from "@/live/protocol";

import { count, event, frame, frames, START } from "./support/frames";

let model: LiveModel;
const keys = (rows: readonly Row[]): string[] => rows.map(({ key }) => key);

beforeEach(() => {
  model = new LiveModel();
});

test("the newest row comes first, and there are at most 100 rows", () => {
  model.fold(frames(1, 300), false);
  const { rows } = model.feed();
  expect(rows).toHaveLength(MAX_ROWS);
  expect(rows[0]?.key).toBe(keyText(event("e300")));
  expect(rows.at(-1)?.key).toBe(keyText(event("e201")));
});

test("counts are exact even when the rows are a sample", () => {
  const burst: Frame = { ...frame(1), counts: [count("gcp", "A", 900), { ...count("aws", "B", 100), duplicate: 7 }] };
  model.fold([burst, ...frames(2, 200)], true);
  const { rows, sampled } = model.feed();
  expect(model.counts()).toMatchObject({ stored: { aws: 299, gcp: 900 }, duplicate: 7, contradictory: 0, rejected: 0 });
  expect(sampled).toBe(true);
  expect(rows.length).toBeLessThan(MAX_ROWS);
});

test("after a burst, the list shows every one of the latest rows", () => {
  model.fold(frames(1, 200), true);
  expect(model.feed().sampled).toBe(true);
  expect(model.tick()).toBe(false);
  expect(model.tick()).toBe(true); // the rows have changed
  const { rows, sampled } = model.feed();
  expect(sampled).toBe(false);
  expect(keys(rows).slice(0, 2)).toEqual([keyText(event("e200")), keyText(event("e199"))]);
});

test("the counts at an earlier position are known", () => {
  model.fold(frames(1, 5), false);
  model.fold(frames(6, 8), true);
  const now = model.counts();
  expect(model.countsAt(4, now).stored.aws).toBe(4);
  expect(model.countsAt(8, now)).toBe(now);
  expect(model.countsAt(20, now)).toBe(now); // the response is ahead of the stream
  model.fold(frames(9, 22), true);
  expect((model.counts().stored.aws ?? 0) - (model.countsAt(20, model.counts()).stored.aws ?? 0)).toBe(2);
});

test("after a restart of the stream, positions refer to the new stream", () => {
  model.fold(frames(1000, 1005), true);
  model.gap(null, START);
  model.fold(frames(1, 3), true);
  expect(model.countsAt(2, model.counts()).stored.aws).toBe(8);
});

test("the chart includes earlier frames", () => {
  model.fold(frames(1, 5), false);
  expect(model.pulse(START + 1000).series.aws?.at(-1)).toBe(5);
});

test("earlier frames do not use up the row limit of live ones", () => {
  model.fold(frames(1, 300), false);
  model.fold(frames(301, 305), true);
  expect(model.feed().rows[0]?.key).toBe(keyText(event("e305")));
  expect(model.feed().sampled).toBe(false);
});

test("a filter finds rows from before and after it was set", () => {
  model.fold([frame(1, [event("a"), event("b", { source: "azure", type: "InventoryReserved" })])], true);
  model.setFilter({ ...NO_FILTER, source: "azure" });
  expect(keys(model.feed().rows)).toEqual([keyText(event("b", { source: "azure" }))]);

  const before = model.feed().arrived;
  model.fold([frame(2, [event("c"), event("d", { source: "azure" })])], true);
  expect(keys(model.feed().rows)).toEqual([keyText(event("d", { source: "azure" })), keyText(event("b", { source: "azure" }))]);
  expect(model.feed().arrived - before).toBe(1);
});

test("a text finds order, customer, ID and type, in any case", () => {
  const byOrder = event("a", { order_id: "ORD-77" });
  const byCustomer = event("b", { customer_id: "CUST-0077", order_id: null });
  model.fold([frame(1, [byOrder, byCustomer])], true);
  model.setFilter({ ...NO_FILTER, text: "ord-77" });
  expect(keys(model.feed().rows)).toEqual([keyText(event("a"))]);
  model.setFilter({ ...NO_FILTER, text: "77" });
  expect(model.feed().rows).toHaveLength(2);
});

test("a gap is a row in its place, whatever the filter", () => {
  model.fold(frames(1, 1), true);
  model.gap(12, START + 1);
  expect(model.pulse(START + 9000).since).toBe(START / 1000 + 9);
  model.fold(frames(14, 14), true);
  model.setFilter({ ...NO_FILTER, source: "aws" });
  expect(model.feed().rows.map(({ kind }) => kind)).toEqual(["event", "gap", "event"]);
});

test("memory stays flat under a long load", () => {
  for (let second = 0; second < 120; second++) {
    model.fold(frames(second * 1000, second * 1000 + 999), true);
    model.tick();
  }
  expect(model["recent"].length).toBeLessThan(6000);
  expect(model["shown"].length).toBeLessThan(3 * MAX_ROWS);
});

test("the pulse has the lag of each source", () => {
  const late = event("a", { source: "gcp", time: new Date(START - 480.5).toISOString() });
  model.fold([frame(1, [late])], true);
  const { sources } = model.pulse(START + 2000);
  const lag = { p50: 501, p95: 501, p99: 501 };
  expect(sources.gcp).toEqual({ lastReceivedAt: START + 20, lag, watermark: START - 481, coarse: false });
  expect(sources.aws).toEqual({ lastReceivedAt: null, lag: null, watermark: null, coarse: false });
});

test("a few slow events change the tail of a lag but not its median, and an old event leaves the watermark", () => {
  const after = (ms: number, index: number): Frame => frame(index, [event(`e${index}`, { time: new Date(START + 20 - ms).toISOString() })]);
  model.fold(Array.from({ length: 100 }, (_, index) => after(index < 94 ? 10 : 9000, index + 1)), true);
  const { aws } = model.pulse(START + 2000).sources;
  expect(aws?.lag).toEqual({ p50: 10, p95: 9000, p99: 9000 });
  expect(aws?.watermark).toBe(START + 10);
});

test("with a text filter, only the events of a frame count, and the others are undecided", () => {
  model.setFilter({ ...NO_FILTER, source: "aws", text: "ORD-e1" });
  model.fold([frame(1)], true);
  expect(model.feed()).toMatchObject({ arrived: 1, undecided: 0 });
  model.fold([{ ...frame(10), counts: [count("aws", "OrderPlaced", 5), count("gcp", "A", 90)] }], true);
  expect(model.feed()).toMatchObject({ arrived: 2, undecided: 4 });
});

test("the combined type is not selectable, and with a type filter its events are undecided", () => {
  const many: Frame = { ...frame(1), counts: [count("aws", "*", 30), count("gcp", "*", 5), count("aws", "Named", 2)] };
  model.fold([many], true);
  expect(model.feed()).toMatchObject({ arrived: 37, undecided: 0 });
  expect(model.pulse(START + 2000).types).toEqual(["Named"]);
  expect(model.counts().stored).toEqual({ aws: 32, gcp: 5 });

  model.setFilter({ ...NO_FILTER, source: "aws", type: "OrderPlaced" });
  model.fold([{ ...many, position: 2, events: [event("a"), event("b", { type: "Rare" })] }], true);
  expect(model.feed()).toMatchObject({ arrived: 38, undecided: 28 });
});
