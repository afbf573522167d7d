/** Resolving orders, one by one and in bulk, against a server on a real port. */
import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { mismatched } from "./support/flows";
import { openApp, startServer } from "./support/app";
import { type TestServer } from "./support/server";

vi.mock("@/features/charts/throughput-chart", () => ({ default: () => null })); // jsdom measures nothing
window.scrollTo = () => undefined;

let server: TestServer;
let user: ReturnType<typeof userEvent.setup>;

beforeEach(async () => {
  server = await startServer();
  server.flows = [mismatched("ORD-1"), mismatched("ORD-2")];
  user = userEvent.setup();
});

afterEach(async () => {
  await server.stop();
});

async function visit(search: string): Promise<void> {
  await openApp(`/${search}`);
  await screen.findByText("Live");
}

/** The button that sends the form; the choice of the step before it has the same name. */
function submit(resolution: HTMLElement, name: string): HTMLElement {
  const button = within(resolution).getAllByRole("button", { name }).at(-1);
  if (!button) throw new Error(`no button ${name}`);
  return button;
}

const panel = (): Promise<HTMLElement> => screen.findByRole("region", { name: "Resolution" });

test("an order is accepted with a reason, and the step is undone", async () => {
  await visit("?view=reconciliation&instance=order/ORD-1");
  const resolution = await panel();
  expect(resolution).toHaveTextContent("Unresolved");

  await user.click(within(resolution).getByRole("button", { name: "Accept", pressed: true }));
  await user.type(within(resolution).getByLabelText("Reason"), "agreed with the bank");
  await user.click(submit(resolution, "Accept"));

  expect(await within(resolution).findByText("Accepted")).toBeVisible();
  expect(server.resolutions.requests).toEqual([
    { instances: [{ flow: "order", key: "ORD-1" }], filter: null, step: "accept", text: "agreed with the bank", assignee: null, dry_run: false },
  ]);
  await user.click(await within(resolution).findByRole("button", { name: "Undo" }));
  expect(await within(resolution).findByText("Unresolved")).toBeVisible();
  expect(await within(resolution).findByText(/undone/)).toBeVisible();
});

test("an order is assigned to a person", async () => {
  await visit("?view=reconciliation&instance=order/ORD-1");
  const resolution = await panel();
  await user.click(within(resolution).getByRole("button", { name: "Assign" }));
  await user.type(within(resolution).getByLabelText("Person"), "lee");
  await user.click(submit(resolution, "Assign"));

  expect(await within(resolution).findByText("assigned it to lee")).toBeVisible();
  expect(server.resolutions.requests[0]).toMatchObject({ step: "assign", text: null, assignee: "lee" });
});

test("all orders that match the filter are resolved in one step", async () => {
  const resolution = { state: "unresolved", assignee: "lee", reason: null, version: null, changed_at: "2026-01-02T03:04:00Z", changed_by: "me" } as const;
  for (const flow of server.flows) flow.resolution = resolution;
  await visit("?view=reconciliation&show=mismatched&issue=mismatch&resolution=unresolved&assignee=lee");
  await user.click(await screen.findByRole("button", { name: "Resolve" }));
  const dialog = await screen.findByRole("dialog", { name: "Resolve orders" });
  expect(await within(dialog).findByText(/concerns all 2 orders/)).toBeVisible();
  await user.click(within(dialog).getByRole("button", { name: "Write off" }));
  await user.type(within(dialog).getByLabelText("Reason"), "lost by the carrier");
  await user.click(within(dialog).getByRole("button", { name: "Write off: 2 orders" }));

  expect(await within(dialog).findByRole("button", { name: "Undo" })).toBeVisible();
  expect(server.resolutions.requests[0]).toMatchObject({
    step: "write_off",
    instances: null,
    filter: { status: ["mismatched"], issue: ["mismatch"], resolution: ["unresolved"], assignee: "lee", until: null },
  });
});

test("a refused step names the scope that it needs", async () => {
  server.resolutions.mayResolve = false;
  await visit("?view=reconciliation&instance=order/ORD-1");
  const resolution = await panel();
  await user.click(within(resolution).getByRole("button", { name: "Reopen" }));
  await user.click(submit(resolution, "Reopen"));

  expect(await within(resolution).findByText("helios tokens create --name me --scope resolve")).toBeVisible();
});

/** Opens the dialog that imports steps, and chooses a file with these lines. */
async function importFile(...lines: string[]): Promise<HTMLElement> {
  await user.click(await screen.findByRole("button", { name: "Import CSV" }));
  const dialog = await screen.findByRole("dialog", { name: "Import steps" });
  await user.upload(within(dialog).getByLabelText("File"), new File([lines.join("\n")], "steps.csv", { type: "text/csv" }));
  return dialog;
}

test("the steps of a file are taken, those that are alike in one action", async () => {
  await visit("?view=reconciliation");
  const dialog = await importFile(
    "flow,key,step,text",
    "order,ORD-1,write_off,lost",
    'order,ORD-2,note,"says ""no"""',
    "order,ORD-3,write_off,lost",
  );
  await user.click(await within(dialog).findByRole("button", { name: "Take the steps for 3 orders" }));

  expect(await within(dialog).findAllByRole("button", { name: "Undo" })).toHaveLength(2);
  expect(server.resolutions.requests).toMatchObject([
    { step: "write_off", text: "lost", instances: [{ flow: "order", key: "ORD-1" }, { flow: "order", key: "ORD-3" }] },
    { step: "note", text: 'says "no"', assignee: null, instances: [{ flow: "order", key: "ORD-2" }] },
  ]);
});

test.each([
  [["flow,key", "order,ORD-1"], "line 1: the column step is missing"],
  [["flow,key,step,why", "order,ORD-1,note,x"], "line 1: there is no column why"],
  [["flow,key,step", "order,ORD-1,pay"], "line 2: step is pay"],
  [["flow,key,step,text", "order,ORD-1,assign,", "order,ORD-2,note,"], "line 3: text is needed for note"],
  [["flow,key,step", "order,ORD-1"], "line 2: it has another number of columns"],
  [["flow,key,step", 'order,"ORD-1,note'], "line 2: a quote is not closed"],
  [["flow,key,step"], "the file has no rows"],
])("a wrong file takes no step: %j", async (lines, fault) => {
  await visit("?view=reconciliation");
  const dialog = await importFile(...lines);
  expect(await within(dialog).findByRole("alert")).toHaveTextContent(fault);
  expect(within(dialog).getByRole("button", { name: "Take the steps" })).toBeDisabled();
});
