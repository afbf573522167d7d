/** Bringing back a missing leg of an order, against a server on a real port. */
import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { gone, leg, row } from "./support/flows";
import { openApp, startServer } from "./support/app";
import { type TestServer } from "./support/server";

vi.mock("@/features/charts/throughput-chart", () => ({ default: () => null })); // jsdom measures nothing
window.scrollTo = () => undefined;

let server: TestServer;
let user: ReturnType<typeof userEvent.setup>;

beforeEach(async () => {
  server = await startServer();
  const legs = [leg("order", "aws"), leg("payment", "gcp"), gone("inventory", "azure")];
  server.flows = [row("ORD-1", { status: "incomplete", legs })];
  user = userEvent.setup();
});

afterEach(async () => {
  await server.stop();
});

async function visit(): Promise<HTMLElement> {
  await openApp("/?view=reconciliation&instance=order/ORD-1");
  return screen.findByRole("region", { name: "Missing events" });
}

test("a missing leg says why, is brought back, and shows the outcome", async () => {
  const panel = await visit();
  expect(await within(panel).findByText("Unknown")).toBeVisible();
  await user.click(within(panel).getByRole("button", { name: "Bring back inventory" }));

  expect(await within(panel).findByText("Searching…")).toBeVisible();
  expect(within(panel).getByRole("button", { name: "Bring back inventory" })).toBeDisabled();
  expect(server.recoveries.requests).toEqual([{ flow: "order", key: "ORD-1", leg: "inventory" }]);

  server.recoveries.finish();
  const outcomes = await within(panel).findByRole("list", { name: "Recoveries" });
  expect(await within(outcomes).findByText(/brought back from the dead-letter blobs/)).toBeVisible();
});

test("a token without the scope is named", async () => {
  server.recoveries.mayReplay = false;
  const panel = await visit();
  await user.click(await within(panel).findByRole("button", { name: "Bring back inventory" }));
  expect(await within(panel).findByRole("alert")).toHaveTextContent("a token with the scope replay");
});

test("a leg that can be searched for nowhere has no button", async () => {
  server.recoveries.places = [];
  const panel = await visit();
  expect(await within(panel).findByText("Unknown")).toBeVisible();
  expect(within(panel).queryByRole("button")).toBeNull();
});

test("an order that lacks nothing shows no such panel", async () => {
  server.flows = [row("ORD-1")];
  await openApp("/?view=reconciliation&instance=order/ORD-1");
  expect(await screen.findByRole("region", { name: "Resolution" })).toBeVisible();
  expect(screen.queryByRole("region", { name: "Missing events" })).toBeNull();
});
