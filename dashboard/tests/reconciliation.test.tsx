/** The reconciliation view against a server on a real port. */
import { fireEvent, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { FlowInstance } from "@/api/flows";
import type { Frame } from "@/live/protocol";

import { change, declaration, gone, leg, mismatched, open, row, summary } from "./support/flows";
import { event, frame } from "./support/frames";
import { openApp, startServer } from "./support/app";
import { type TestServer } from "./support/server";

vi.mock("@/features/charts/throughput-chart", () => ({ default: () => null })); // jsdom measures nothing
window.scrollTo = () => undefined;

let server: TestServer;
let user: ReturnType<typeof userEvent.setup>;

beforeEach(async () => {
  server = await startServer();
  user = userEvent.setup();
});

afterEach(async () => {
  await server.stop();
});

async function visit(search = "?view=reconciliation"): Promise<void> {
  await openApp(`/${search}`);
  await screen.findByText("Live");
}

const card = (name: string): Promise<HTMLElement> => screen.findByRole("article", { name });
const order = (key: string): Promise<HTMLElement> => screen.findByRole("link", { name: new RegExp(`^${key}\\b`) });
const orders = (): string[] =>
  [...document.querySelectorAll("[data-row]")].map((row) => row.getAttribute("data-row") ?? "");

/** A frame that reports the change of one order. */
function changed(position: number, of: FlowInstance, previous: FlowInstance["status"] | null): Frame {
  const deltas = { [of.status]: 1, ...(previous && { [previous]: -1 }) };
  return { ...frame(position, []), flows: [change(of, previous)], flow_statuses: { order: deltas } };
}

test("the header links to the view and back", async () => {
  await visit("");
  await user.click(screen.getByRole("link", { name: "Reconciliation" }));
  expect(await screen.findByRole("heading", { name: "Reconciliation" })).toBeVisible();
  expect(location.search).toBe("?view=reconciliation");
  expect(screen.getByRole("link", { name: "Reconciliation" })).toHaveAttribute("aria-current", "page");

  await user.click(screen.getByRole("heading", { name: "Reconciliation" }));
  await user.keyboard(" "); // scrolls, since the hidden stream cannot be paused
  await user.click(screen.getByRole("link", { name: "Events" }));
  expect(await screen.findByText("Live events")).toBeVisible();
  expect(screen.queryByText("Paused")).toBeNull();
  expect(location.search).toBe("");
});

test("the summary shows the values of the API", async () => {
  await visit();
  expect(await within(await card("Match rate")).findByText("75.0%")).toBeVisible();
  expect(await card("Match rate")).toHaveTextContent("6 of 8 settled");
  expect(await card("Amount at risk")).toHaveTextContent("1,234.50");
  expect(await card("Open")).toHaveTextContent("oldest open for 42 s");

  const funnel = screen.getByRole("region", { name: "Orders by number of sources" });
  expect(within(funnel).getAllByRole("listitem").map(({ textContent }) => textContent)).toEqual([
    "At least one source10 100.0%1 with no further source",
    "At least two sources9 90.0%2 with no further source",
    "Three sources7 70.0%",
  ]);
  expect(screen.getByRole("img", { name: /lowest match rate 50\.0%/ })).toBeInTheDocument();
});

test("a change of an order updates the summary and the rows", async () => {
  server.flows = [mismatched("ORD-1")];
  await visit();
  await order("ORD-1");
  await within(await card("Open")).findByText("2");

  const late = row("ORD-2", { status: "incomplete", legs: [leg("order", "aws"), gone("payment", "gcp")] });
  server.flows.unshift(late);
  server.publish(changed(1, late, "open"));
  await within(await card("Open")).findByText("1");
  expect(await card("Match rate")).toHaveTextContent("6 of 9 settled");
  await order("ORD-2");
  expect(orders()).toEqual(["order/ORD-2", "order/ORD-1"]);
});

test("changes that the stream reported before a response are added if the response lacks them", async () => {
  const late = row("ORD-2", { status: "incomplete" });
  server.outbox.publish(changed(1, late, "open"), changed(2, late, "open"));
  server.flowSummary = summary({ position: 1 });
  await visit();
  await within(await card("Open")).findByText("1");
  expect(await card("Match rate")).toHaveTextContent("6 of 9 settled");
});

test("changes that a response had before the stream reported them count once", async () => {
  const late = row("ORD-2", { status: "incomplete" });
  server.flowSummary = summary({ position: 2 });
  await visit();
  await within(await card("Open")).findByText("2");
  server.publish(changed(1, late, "open"), changed(2, late, "open"), changed(3, late, "open"));
  await within(await card("Open")).findByText("1");
  expect(await card("Match rate")).toHaveTextContent("6 of 9 settled");
});

test("an issue that leaves the status unchanged appears", async () => {
  const order1 = row("ORD-1");
  server.flows = [order1];
  await visit("?view=reconciliation&show=all&issue=duplicate");
  await screen.findByText("No matches");

  order1.issues = [{ kind: "duplicate", legs: ["order"], field: null, values: {}, detail: "order came 2 times" }];
  server.publish({ ...frame(1, []), flows: [change(order1, "matched")] });
  await order("ORD-1");
});

test("rows stay in place during keyboard navigation, and a button shows the changes", async () => {
  server.flows = [mismatched("ORD-1"), mismatched("ORD-0")];
  await visit();
  await order("ORD-1");
  await user.keyboard("jj");
  expect(document.activeElement).toHaveTextContent("ORD-0");

  server.flows.unshift(mismatched("ORD-2"));
  server.publish(changed(1, mismatched("ORD-2"), null));
  const show = await screen.findByRole("button", { name: "Show changes" });
  expect(orders()).not.toContain("order/ORD-2");
  await user.click(show);
  await order("ORD-2");
});

test("the filter is in the URL and in the request", async () => {
  server.flows = [mismatched("ORD-1"), open("ORD-2"), row("ABC-3")];
  await visit();
  await order("ORD-1");
  expect(orders()).toEqual(["order/ORD-1"]);

  await user.click(await screen.findByRole("button", { name: /^All ?10$/ }));
  await order("ABC-3");
  expect(orders()).toHaveLength(3);
  expect(screen.getByText("Pending (Azure)")).toBeVisible();

  await user.type(screen.getByRole("searchbox"), "ABC");
  await waitFor(() => {
    expect(orders()).toEqual(["order/ABC-3"]);
  });
  expect(new URLSearchParams(location.search).get("key")).toBe("ABC");
  expect(new URLSearchParams(location.search).get("show")).toBe("all");
});

test("entered bounds are in the URL and in the request", async () => {
  server.flows = [mismatched("ORD-1")];
  await visit();
  await order("ORD-1");
  expect(server.flowBounds[1]).toBeNull();

  await user.click(screen.getByRole("button", { name: "Custom" }));
  fireEvent.change(screen.getByLabelText("From"), { target: { value: "2026-01-02T03:04" } });
  fireEvent.change(screen.getByLabelText("to"), { target: { value: "2026-01-03T00:00" } });
  const bounds = ["2026-01-02T03:04", "2026-01-03T00:00"].map((local) => new Date(local).toISOString());
  await waitFor(() => {
    expect(server.flowBounds).toEqual(bounds);
  });
  expect(new URLSearchParams(location.search).get("from")).toBe(bounds[0]);

  await user.click(screen.getByRole("button", { name: "1 hour" }));
  await waitFor(() => {
    expect(server.flowBounds[1]).toBeNull();
  });
  expect(screen.queryByLabelText("From")).toBeNull();
  expect(location.search).not.toContain("from");
});

test("an issue filter covers every status", async () => {
  const twice = { kind: "duplicate" as const, legs: ["order"], field: null, values: {}, detail: "order came twice" };
  server.flows = [mismatched("ORD-1"), row("ORD-2", { issues: [twice] }), row("ORD-3")];
  await visit();
  await order("ORD-1");
  const duplicate = await screen.findByRole("option", { name: "Duplicate (3)" });
  await user.selectOptions(screen.getByRole("combobox", { name: "Issue type" }), duplicate);
  await order("ORD-2");
  expect(orders()).toEqual(["order/ORD-1", "order/ORD-2"]);
});

test("a long list of orders loads page by page", async () => {
  server.page = 2;
  server.flows = ["ORD-5", "ORD-4", "ORD-3"].map(mismatched);
  await visit();
  await order("ORD-5");
  expect(orders()).toHaveLength(2);
  await user.click(screen.getByRole("button", { name: "Show more" }));
  await order("ORD-3");
  expect(screen.queryByRole("button", { name: "Show more" })).toBeNull();
});

test("an order's page shows the differences, and links to its events and back", async () => {
  server.flows = [mismatched("ORD-1")];
  server.events = [{ ...event("inventory-1", { source: "azure" }), data: {}, attributes: {}, digest: "00" }];
  await visit();
  await user.click(await order("ORD-1"));

  expect(await screen.findByRole("heading", { name: /ORD-1/ })).toHaveFocus();
  expect(await screen.findByText("Quantity: AWS ordered 3, Azure reserved 2")).toBeVisible();
  const table = screen.getByRole("region", { name: "Leg comparison" });
  const quantity = within(table).getByRole("rowheader", { name: "quantity" }).closest("tr");
  expect([...(quantity?.cells ?? [])].map(({ textContent }) => textContent)).toEqual([
    "quantity",
    "3differs",
    "–",
    "2differs",
  ]);

  await user.click(within(table).getByRole("link", { name: "inventory-event" }));
  expect(await screen.findByRole("dialog", { name: "Event" })).toBeVisible();
  expect(new URLSearchParams(location.search).get("event")).toBe("azure/inventory-1");
  await user.click(screen.getByRole("button", { name: "Close" }));
  await user.click(screen.getByRole("link", { name: "All orders" }));
  await order("ORD-1");
});

test("an order's page links to the trace of its events once, and each event links to it too", async () => {
  const id = "0af76519".repeat(4);
  const trace = { id, url: `https://tracing.example/trace/${id}` };
  const stored = { data: {}, attributes: {}, digest: "00", trace, order_id: "ORD-1" };
  server.flows = [row("ORD-1")];
  server.events = [
    { ...event("order-1"), ...stored },
    { ...event("inventory-1", { source: "azure" }), ...stored },
    { ...event("payment-1", { source: "gcp" }), ...stored, trace: { id: "f".repeat(32), url: null } },
  ];
  await visit("?view=reconciliation&instance=order/ORD-1");

  const traces = within(await screen.findByRole("list", { name: "Traces" }));
  expect(traces.getAllByRole("listitem")).toHaveLength(2);
  const link = traces.getByRole("link"); // the other trace has no address
  expect(link).toHaveAttribute("href", trace.url);
  expect(link).toHaveAttribute("rel", "noreferrer");

  await user.click(await screen.findByRole("link", { name: "order-event" }));
  const drawer = within(await screen.findByRole("dialog", { name: "Event" }));
  expect(await drawer.findByRole("link", { name: /show this trace/ })).toHaveAttribute("href", trace.url);
});

test("an order's page follows the changes of the order", async () => {
  server.flows = [open("ORD-1")];
  await visit("?view=reconciliation&instance=order/ORD-1");
  expect(await screen.findByText("Waiting for inventory (Azure).")).toBeVisible();

  server.flows = [row("ORD-1")];
  server.publish(changed(1, row("ORD-1"), "open"));
  expect(await screen.findByText("All sources agree.")).toBeVisible();
  expect(screen.getByText(/complete 2\.0 s later/)).toBeVisible();
});

test("an event links to its order", async () => {
  const placed = event("x", { order_id: "ORD-1" });
  server.events = [{ ...placed, data: { order_id: "ORD-1" }, attributes: {}, digest: "00" }];
  server.flows = [mismatched("ORD-1")];
  const leg = { source: "aws" as const, type: "OrderPlaced", name: "order", optional: false };
  server.declarations = [declaration("order", leg)];
  await visit("?event=aws/x&producer=shop");
  await user.click(await screen.findByRole("link", { name: "Show reconciliation" }));
  expect(await screen.findByRole("heading", { name: /ORD-1/ })).toBeVisible();
  expect(screen.queryByRole("dialog")).toBeNull();
});

test("a silent cloud shows one alert", async () => {
  server.flowSummary = summary({ silent: ["azure"] });
  await visit();
  expect(await screen.findByText("Azure is silent.")).toBeVisible();
});

test("a failed request shows a message and a retry button", async () => {
  server.broken.add("/api/v1/flows");
  server.flows = [mismatched("ORD-1")];
  await visit();
  expect(await screen.findByText("Could not load the orders")).toBeVisible();
  server.broken.clear();
  await user.click(screen.getByRole("button", { name: "Try again" }));
  await order("ORD-1");
});

test("the empty list distinguishes no matches from no problems", async () => {
  await visit();
  expect(await screen.findByText("No problems")).toBeVisible();
  await user.type(screen.getByRole("searchbox"), "none");
  expect(await screen.findByText("No matches")).toBeVisible();
});

test("an unknown order shows a message", async () => {
  await visit("?view=reconciliation&instance=order/none");
  expect(await screen.findByText("Order not found")).toBeVisible();
});

/** The text of a file; the Blob of jsdom has no `text`. */
const textOf = (file: Blob): Promise<string> =>
  new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => {
      resolve(reader.result as string);
    };
    reader.readAsText(file);
  });

test("the orders that match the filter are saved as CSV, and no cell is a formula", async () => {
  const files: Blob[] = [];
  vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(() => undefined);
  URL.createObjectURL = (file: Blob) => `blob:${files.push(file)}`;
  URL.revokeObjectURL = () => undefined;
  server.page = 1; // several requests
  server.flows = [mismatched("ORD-1"), { ...mismatched("ORD-2"), key: '=HYPERLINK("x")' }, open("ORD-3")];
  await visit("?view=reconciliation&show=mismatched");
  await order("ORD-1");

  await user.click(screen.getByRole("button", { name: "Export CSV" }));
  await waitFor(() => {
    expect(files).toHaveLength(1);
  });
  const lines = (await textOf(files[0] ?? new Blob())).split("\n");
  expect(lines[0]).toBe("flow,key,status,amount,currency,opened_at,settled_at,issues,resolution,reason,assignee");
  expect(lines[1]).toMatch(/^order,ORD-1,mismatched,/);
  expect(lines[2]).toMatch(/^order,"'=HYPERLINK\(""x""\)",mismatched,/);
  expect(lines).toHaveLength(4);
});

test("unresolved problems are counted by person and age", async () => {
  const row = { flow: "order", older_than_seconds: 0, assignee: null, instances: 3, overdue: 0 };
  server.workload = [
    row,
    { ...row, older_than_seconds: 86_400, instances: 1200, overdue: 1200 },
    { ...row, assignee: "lee", instances: 4 },
    { ...row, flow: "refund", instances: 70 },
  ];
  await visit("?view=reconciliation&flow=order");
  const panel = await screen.findByRole("region", { name: "Unresolved problems" });
  const cells = within(panel).getAllByRole("row").map((each) => [...each.children].map((cell) => cell.textContent));
  expect(cells).toEqual([
    ["assigned to", "new", "over 1 d", "all"],
    ["nobody", "3", "1,200", "1,203"],
    ["lee", "4", "0", "4"],
  ]);
  expect(panel).toHaveTextContent("1,200 overdue");
});

test("the orders of one person are listed", async () => {
  const resolution = { state: "unresolved", assignee: "lee", reason: null, version: null, changed_at: "2026-01-02T03:04:00Z", changed_by: "me" } as const;
  server.workload = [{ flow: "order", older_than_seconds: 0, assignee: "lee", instances: 1, overdue: 0 }];
  server.flows = [mismatched("ORD-1"), { ...mismatched("ORD-2"), resolution }];
  await visit();
  await order("ORD-1");
  await user.selectOptions(await screen.findByLabelText("Assigned to"), "lee");

  await waitFor(() => {
    expect(orders()).toEqual(["order/ORD-2"]);
  });
  expect(location.search).toContain("assignee=lee");
});
