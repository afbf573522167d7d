import { expect, test } from "vitest";

import { flowInstancesOf, type FlowIssue } from "@/api/flows";
import { addUp } from "@/features/reconciliation/api";
import { stepsOf } from "@/features/reconciliation/funnel";
import { summary as line } from "@/features/reconciliation/flow-instance-row";
import { differs } from "@/features/flow-instance/comparison";
import { boundsOf, ISSUE_KINDS, ISSUE_NAMES, partsOf, sentence, startOf } from "@/lib/flows";
import { FlowsModel, NO_FLOWS } from "@/live/flows";
import type { Frame } from "@/live/protocol";

import { change, declaration, mismatched, open, row, summary } from "./support/flows";
import { event, frame } from "./support/frames";

const frameWith = (position: number, part: Partial<Frame>): Frame => ({ ...frame(position, []), ...part });

test("the statuses follow the stream, and the match rate follows them", () => {
  const model = new FlowsModel();
  model.fold([frameWith(1, { flow_statuses: { order: { open: 3 } } })]);
  const before = model.read();
  model.fold([frameWith(2, { flow_statuses: { order: { open: -2, matched: 1, incomplete: 1 }, shipment: { matched: 1 } } })]);

  const total = addUp(summary(), before, model.read(), "order");
  expect(total.by_status).toEqual({ open: 0, matched: 6, matched_late: 1, mismatched: 1, incomplete: 2 });
  expect(total.match_rate).toBe(7 / 10);
  expect(addUp(summary(), before, model.read(), null).by_status.matched).toBe(7);
});

test("the status changes of frames after a response's position are added to it", () => {
  const model = new FlowsModel();
  const opened = (position: number): Frame => frameWith(position, { flow_statuses: { order: { open: 1 } } });
  const open = (position: number): number => {
    const now = model.read();
    return addUp(summary({ position }), model.countsAt(position, now), now, null).by_status.open;
  };
  model.fold([opened(11), opened(12), frame(13), opened(14)]);
  expect([10, 11, 12, 13, 14].map(open)).toEqual([2 + 3, 2 + 2, 2 + 1, 2 + 1, 2]);

  expect(open(16)).toBe(2); // the response is ahead of the stream
  model.fold([opened(15), opened(16)]);
  expect(open(16)).toBe(2);
  model.fold([opened(17)]);
  expect(open(16)).toBe(3);

  model.restart();
  model.fold([opened(1), opened(2)]);
  expect([0, 1, 2].map(open)).toEqual([4, 3, 2]);
});

test("there is no match rate without a settled order", () => {
  const by_status = { open: 2, matched: 0, matched_late: 0, mismatched: 0, incomplete: 0 };
  expect(addUp(summary({ by_status }), NO_FLOWS, NO_FLOWS, null).match_rate).toBeNull();
});

test("a snapshot stays the same without changes, and holds the latest changes only", () => {
  const model = new FlowsModel();
  const before = model.read();
  model.fold([frame(1)]);
  expect(model.read()).toBe(before);

  for (let each = 0; each < 600; each++) model.fold([frameWith(each + 2, { flows: [change(row(`O${each}`), null)] })]);
  const { changes } = model.read();
  expect(changes.size).toBe(500);
  expect(changes.has("order/O99")).toBe(false);
  expect(changes.has("order/O599")).toBe(true);
});

test("an order with three sources counts for one and two sources too", () => {
  expect(stepsOf({ "1": 1, "3": 5 }).map(({ reached, stayed }) => [reached, stayed])).toEqual([
    [6, 1],
    [5, 0],
    [5, 5],
  ]);
});

test("a row shows the most important issue in one line", () => {
  expect(line(mismatched("A"))).toBe("Quantity: AWS ordered 3, Azure reserved 2, and 1 more");
  expect(line(open("A"))).toBe("Pending (Azure)");
  expect(line(row("A"))).toBe("All sources agree");
  expect(sentence("laws of gcp")).toBe("Laws of GCP");
});

test("only the fields and legs that an issue names differ", () => {
  const { issues } = mismatched("A");
  expect(differs(issues, "order", "quantity")).toBe(true);
  expect(differs(issues, "payment", "quantity")).toBe(false);
  expect(differs(issues, "order", "amount")).toBe(false);
});

test("a period begins on a whole minute, so that responses can be compared", () => {
  expect(startOf("1h", Date.parse("2026-01-02T03:04:05Z"))).toBe("2026-01-02T02:04:00.000Z");
});

test("entered bounds replace the period, and a missing bound is open", () => {
  const now = Date.parse("2026-01-02T03:04:05Z");
  const [from, to] = ["2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"];
  expect(boundsOf({ period: "1h", from: null, to: null }, now)).toEqual({ since: startOf("1h", now), until: null });
  expect(boundsOf({ period: "1h", from, to: null }, now)).toEqual({ since: from, until: null });
  expect(boundsOf({ period: "1h", from: null, to }, now)).toEqual({ since: startOf("31d", Date.parse(to)), until: to });
});

test("an event belongs to the flows that have a leg for it", () => {
  const leg = { name: "order", source: "aws" as const, type: "OrderPlaced", optional: false };
  const flow = declaration("order", leg);
  const other = declaration("shipment", { ...leg, type: "Shipped" });
  const anyCloud = declaration("audit", { ...leg, source: null });
  const payload = '{"order_id": "ORD-x"}';
  expect(flowInstancesOf(event("x"), payload, [flow, other])).toEqual([{ flow: "order", key: "ORD-x" }]);
  expect(flowInstancesOf(event("x"), payload, [anyCloud])).toEqual([{ flow: "audit", key: "ORD-x" }]);
  expect(flowInstancesOf(event("x"), "{}", [flow])).toEqual([]);
});

test("a flow instance's key is the field that the flow declares, as it was sent", () => {
  const leg = { name: "shipped", source: "aws" as const, type: "OrderPlaced", optional: false };
  const flow = { ...declaration("shipment", leg), key: "parcel.number" };
  const keyOf = (number: string): string | undefined =>
    flowInstancesOf(event("x"), `{"order_id": "ORD-x", "parcel": {"number": ${number}}}`, [flow])[0]?.key;
  expect(keyOf('"P-\\u0031"')).toBe("P-1");
  expect(keyOf("12345678901234567890")).toBe("12345678901234567890");
  expect(keyOf("7.0")).toBe("7");
  expect(keyOf("null")).toBeUndefined();
  expect(keyOf("{}")).toBeUndefined();
});

test("a flow instance's key is found in every spelling, and under the path of its leg", () => {
  const leg = { name: "order", source: "aws" as const, type: "OrderPlaced", optional: false };
  const keyOf = (payload: string, key?: string): string | undefined =>
    flowInstancesOf(event("x"), payload, [declaration("order", { ...leg, key: key ?? null })])[0]?.key;
  expect(keyOf('{"orderId": "ORD-1"}')).toBe("ORD-1");
  expect(keyOf('{"OrderId": "ORD-1"}')).toBe("ORD-1");
  expect(keyOf('{"order_id": null, "orderId": "ORD-1"}')).toBe("ORD-1");
  expect(keyOf('{"order": {"number": 7}}', "order.number")).toBe("7");
  expect(keyOf('"{\\"order_id\\": \\"ORD-1\\"}"')).toBe("ORD-1");
});

test("the key of a leg is the first of its paths that has a value", () => {
  const leg = { name: "shipment", source: "azure" as const, type: "OrderPlaced", optional: false };
  const flow = declaration("parcels", { ...leg, source: null, key: ["reference", "order.id"] });
  expect(flowInstancesOf(event("x"), '{"reference": null, "order": {"id": 7}}', [flow])).toEqual([{ flow: "parcels", key: "7" }]);
  expect(flowInstancesOf(event("x"), '{"reference": "A", "order": {"id": 7}}', [flow])).toEqual([{ flow: "parcels", key: "A" }]);
});

test("a leg says how many of its parts have arrived", () => {
  expect(partsOf({ parts: 2, expected: 3 })).toBe("2 of 3");
  expect(partsOf({ parts: 0, expected: 3 })).toBe("0 of 3");
  expect(partsOf({ parts: 2, expected: 0 })).toBe("2");
  expect(partsOf({ parts: 1, expected: 1 })).toBe("");
});

test("every kind of issue of the API has a name", () => {
  const kinds: Record<FlowIssue["kind"], string> = ISSUE_NAMES;
  expect(Object.keys(kinds).sort()).toEqual([...ISSUE_KINDS].sort());
});
