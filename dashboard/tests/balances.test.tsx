/** What was published and what arrived, below the orders, against a server on a real port. */
import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { Schemas } from "@/api/http";

import { START } from "./support/frames";
import { openApp, startServer } from "./support/app";
import { type TestServer } from "./support/server";

vi.mock("@/features/charts/throughput-chart", () => ({ default: () => null })); // jsdom measures nothing
window.scrollTo = () => undefined;

const MISSING: Schemas["Balance"] = {
  minute: new Date(START).toISOString(),
  source: "aws",
  type: "OrderPlaced",
  state: "missing",
  published: 1200,
  repeated: 0,
  advisory: null,
  stored: 1196,
  duplicate: 2,
  rejected: 1,
  missing: 3,
  extra: 0,
  skew_seconds: 0,
  counted_at: new Date(START).toISOString(),
};
const COUNTING: Schemas["Balance"] = { ...MISSING, type: "OrderShipped", state: "counting", stored: 0, counted_at: null };

let server: TestServer;

beforeEach(async () => {
  server = await startServer();
});

afterEach(async () => {
  await server.stop();
});

async function visit(): Promise<void> {
  await openApp("/?view=reconciliation");
  await screen.findByText("Live");
}

test("a minute shows what was published and what became of it", async () => {
  server.balances = [MISSING, COUNTING];
  await visit();
  const panel = await screen.findByRole("region", { name: "Published and arrived" });
  const [, missing, counting] = within(panel).getAllByRole("row");
  expect(missing).toHaveTextContent(/OrderPlaced1,2001,1962130missing$/);
  expect(counting).toHaveTextContent(/OrderShipped1,200counting$/);

  await userEvent.setup().click(within(panel).getByRole("button", { name: "Missing" }));
  await within(panel).findByText("OrderPlaced");
  expect(within(panel).queryByText("OrderShipped")).toBeNull();
});

test("without manifests there is no panel", async () => {
  await visit();
  await screen.findByText("No open incidents");
  expect(screen.queryByRole("region", { name: "Published and arrived" })).toBeNull();
});
