/** The open incidents above the orders, against a server on a real port. */
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { Schemas } from "@/api/http";

import { mismatched } from "./support/flows";
import { START } from "./support/frames";
import { openApp, startServer } from "./support/app";
import { type TestServer } from "./support/server";

vi.mock("@/features/charts/throughput-chart", () => ({ default: () => null })); // jsdom measures nothing
window.scrollTo = () => undefined;

const INCIDENT: Schemas["Incident"] = {
  id: 12,
  cause: {
    kind: "flow",
    flow: "order",
    issue: "missing",
    legs: ["payment"],
    field: null,
    source: null,
    reason: null,
    consumer: null,
    type: null,
  },
  title: "order: missing: payment",
  severity: "error",
  opened_at: new Date(START).toISOString(),
  seen_at: new Date(START).toISOString(),
  resolved_at: null,
  resolution: null,
  number: 10_000,
  amounts: [{ currency: "EUR", amount: "1234567.50" }],
  since: null,
  until: null,
  acknowledged_by: null,
  acknowledged_at: null,
  snoozed_until: null,
  assignee: null,
};

let server: TestServer;
let user: ReturnType<typeof userEvent.setup>;

beforeEach(async () => {
  server = await startServer();
  user = userEvent.setup();
});

afterEach(async () => {
  await server.stop();
});

async function visit(): Promise<void> {
  await openApp("/?view=reconciliation");
  await screen.findByText("Live");
}

/** The panel, once it has loaded the incidents. */
async function incidents(): Promise<HTMLElement> {
  const panel = await screen.findByRole("region", { name: "Incidents" });
  await within(panel).findByText(INCIDENT.title);
  return panel;
}

test("an incident shows its cause, its orders and their money, and can be acknowledged", async () => {
  server.incidents = [INCIDENT];
  await visit();
  const panel = await incidents();
  expect(panel).toHaveTextContent("1 open incident");
  expect(panel).toHaveTextContent("order: missing: payment10,000 orders, 1,234,567.50 EUR");

  await user.click(within(panel).getByRole("button", { name: "Acknowledge" }));
  expect(await within(panel).findByText(/acknowledged by kim/)).toBeVisible();
  expect(within(panel).getByRole("button", { name: "Withdraw acknowledgement" })).toBeVisible();
});

test("an incident is assigned to a person, and to nobody", async () => {
  server.incidents = [INCIDENT];
  await visit();
  const panel = await incidents();
  await user.click(within(panel).getByRole("button", { name: "Assign" }));
  expect(within(panel).getByRole("textbox", { name: "Person" })).toHaveFocus();
  await user.keyboard("lee{Enter}");
  expect(await within(panel).findByText(/assigned to lee/)).toBeVisible();
  expect(within(panel).queryByRole("textbox")).not.toBeInTheDocument();

  await user.click(within(panel).getByRole("button", { name: "Assign" }));
  await user.clear(within(panel).getByRole("textbox", { name: "Person" }));
  await user.keyboard("{Enter}");
  await waitFor(() => {
    expect(server.incidents[0]?.assignee).toBeNull();
  });
});

test("the name of a flow may be a plural: what is counted are orders", async () => {
  server.incidents = [{ ...INCIDENT, number: 2, cause: { ...INCIDENT.cause, flow: "instalments" } }];
  await visit();
  expect(await incidents()).toHaveTextContent("2 orders, 1,234,567.50 EUR");
});

test("the orders of an incident are links to their pages", async () => {
  server.incidents = [INCIDENT];
  server.flows = [mismatched("ORD-1")];
  await visit();
  const panel = await incidents();
  await user.click(within(panel).getByRole("button", { name: "Show orders" }));
  await user.click(await within(panel).findByRole("link", { name: /ORD-1/ }));
  expect(location.search).toBe("?view=reconciliation&instance=order%2FORD-1");
});

test("a refused action names the scope that the token needs", async () => {
  server.incidents = [INCIDENT];
  await visit();
  const panel = await incidents();
  await user.click(within(panel).getByRole("button", { name: "Snooze for an hour" }));
  expect(await within(panel).findByRole("alert")).toHaveTextContent("Request failed.");
});

test("without an incident the panel says so", async () => {
  await visit();
  const panel = await screen.findByRole("region", { name: "Incidents" });
  expect(await within(panel).findByText("No open incidents")).toBeVisible();
});
