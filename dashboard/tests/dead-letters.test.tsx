/** The view of dead letters against a server on a real port. */
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { event, frame } from "./support/frames";
import { deadLetter } from "./support/replay";
import { openApp, startServer } from "./support/app";
import { type TestServer } from "./support/server";

vi.mock("@/features/charts/throughput-chart", () => ({ default: () => null })); // jsdom measures nothing

let server: TestServer;
let user: ReturnType<typeof userEvent.setup>;

beforeEach(async () => {
  server = await startServer();
  user = userEvent.setup();
});

afterEach(async () => {
  await server.stop();
});

async function visit(search = "?view=dead-letters"): Promise<void> {
  await openApp(`/${search}`);
  await screen.findByText("Live");
}

const row = (id: number): Promise<HTMLElement> =>
  waitFor(() => {
    const element = document.querySelector<HTMLElement>(`[data-row="${id}"]`);
    if (!element) throw new Error(`no row ${id}`);
    return element;
  });
const rows = (): string[] =>
  [...document.querySelectorAll("[data-row]")].map((row) => row.getAttribute("data-row") ?? "");

test("dead letters are grouped by reason, and a group filters the list", async () => {
  server.replays.deadLetters = [deadLetter(3), deadLetter(2, { source: "aws", field: "time", reason: "is no time" }), deadLetter(1)];
  await visit();
  const group = within(await screen.findByRole("region", { name: "By reason" }));
  await group.findByText("2", { exact: false, selector: "strong" });
  await row(3);
  expect(rows()).toEqual(["3", "2", "1"]);

  await user.click(group.getByRole("button", { name: "time is no time" }));
  await waitFor(() => {
    expect(rows()).toEqual(["2"]);
  });
  expect(location.search).toBe("?view=dead-letters&cloud=aws&status=rejected&field=time&reason=is+no+time");
  await user.click(screen.getByRole("button", { name: "Remove the reason filter: is no time" }));
  await user.selectOptions(screen.getByRole("combobox", { name: "Source" }), "GCP");
  await user.clear(screen.getByRole("searchbox", { name: "Field" }));
  await waitFor(() => {
    expect(rows()).toEqual(["3", "1"]);
  });
});

test("a long list of dead letters loads page by page", async () => {
  server.replays.deadLetters = Array.from({ length: 60 }, (_, index) => deadLetter(60 - index));
  await visit();
  await row(60);
  expect(rows()).toHaveLength(50);
  await user.click(screen.getByRole("button", { name: "Show more" }));
  await row(1);
  expect(rows()).toHaveLength(60);
});

test("a dead letter shows the received body, the field at fault and its replays", async () => {
  const line = { at: "2026-01-02T04:00:00Z", actor: "ops", action: "dead_letter_replayed" as const, subject: "dead letter 1", detail: "rejected again" };
  const body = '{"detail":{"time":"x"},"time":"never"}';
  server.replays.deadLetters = [deadLetter(1, { source: "aws", field: "detail.time", body, replays: [line] })];
  await visit();
  await user.click(await row(1));
  const drawer = within(await screen.findByRole("dialog", { name: "Dead letter" }));
  expect(location.search).toBe("?view=dead-letters&dead-letter=1");
  expect(await drawer.findByText('"time": "x"')).toHaveClass("text-bad");
  expect(drawer.getByText('"time": "never"')).not.toHaveClass("text-bad");
  expect(drawer.getByText("content-type: application/json")).toBeVisible();
  expect(drawer.getByText("rejected again")).toBeVisible();
  await user.click(drawer.getByRole("button", { name: "As received" }));
  expect(drawer.getByRole("region", { name: "Received body" })).toHaveTextContent(body);
});

test("a dead letter can be fixed and replayed, and the drawer shows the outcome", async () => {
  server.replays.deadLetters = [deadLetter(1, { body: "{" })];
  server.replays.outcome = [422, { detail: "message.messageId: is missing" }];
  await visit("?view=dead-letters&dead-letter=1");
  await user.click(await screen.findByRole("button", { name: "Replay unchanged" }));
  expect(await screen.findByText("message.messageId: is missing")).toBeVisible();

  server.replays.outcome = [200, { status: "stored", source: "gcp", producer: "topic", id: "m-1" }];
  await user.type(screen.getByRole("textbox", { name: /Fix and replay/ }), "}");
  await user.click(screen.getByRole("button", { name: "Replay edited body" }));
  expect(await screen.findByText("The event is stored.")).toBeVisible();
  expect(server.replays.repairs).toEqual([null, "{}"]);
  expect(screen.getByRole("link", { name: "gcp/m-1" })).toHaveAttribute("href", "/?view=dead-letters&event=gcp%2Fm-1&producer=topic");
});

test("a refused replay names the token that it requires", async () => {
  server.replays.deadLetters = [deadLetter(1)];
  server.replays.mayReplay = false;
  await visit("?view=dead-letters&dead-letter=1");
  await user.click(await screen.findByRole("button", { name: "Replay unchanged" }));
  expect(await screen.findByText(/tokens create --name me --scope replay/)).toBeVisible();
  await user.click(screen.getByRole("button", { name: "Use another token" }));
  expect(await screen.findByLabelText("Token")).toBeInTheDocument();
});

test("a replay of all matches shows their number first, and can be cancelled", async () => {
  server.replays.deadLetters = [deadLetter(1)];
  await visit("?view=dead-letters&field=message.messageId&from=2026-01-02T00:00:00Z");
  await user.click(await screen.findByRole("button", { name: "Replay these dead letters" }));
  const dialog = within(await screen.findByRole("dialog", { name: "Replay dead letters" }));
  expect(await dialog.findByText(/1,200 dead letters/)).toHaveTextContent("1,200 dead letters, takes at least 12.0 s");
  await user.clear(dialog.getByRole("spinbutton"));
  await user.type(dialog.getByRole("spinbutton"), "50");
  await user.click(dialog.getByRole("button", { name: "Replay 1,200" }));

  expect(await dialog.findByRole("progressbar")).toHaveAttribute("aria-valuenow", "300");
  const started = server.replays.requests.filter(({ dry_run }) => !dry_run);
  expect(started).toHaveLength(1);
  expect(started[0]).toMatchObject({
    what: "dead_letters",
    target: { kind: "ingest" },
    filter: { field: "message.messageId", since: "2026-01-02T00:00:00.000Z", until: null },
    per_second: 50,
  });
  await user.click(dialog.getByRole("button", { name: "Cancel" }));
  expect(await dialog.findByText("cancelled")).toBeVisible();
  await user.click(dialog.getByRole("button", { name: "Close" }));
  const jobs = within(screen.getByRole("region", { name: "Replay jobs" }));
  expect(await jobs.findByText("1,200 dead letters to Helios")).toBeVisible();
});

test("an event that is replayed to the live stream is marked, and changes no count", async () => {
  await visit("");
  server.publish(frame(1, [event("x")]));
  Object.assign(server.stats, { position: 1, total_events: 1 }); // for the next request
  await screen.findByRole("button", { name: /order ORD-x/ });
  server.publish({ ...frame(2, [event("x")]), counts: [], replay: 4 });
  expect(await screen.findByText("replay 4")).toBeVisible();
  expect(screen.getAllByRole("button", { name: /order ORD-x/ })).toHaveLength(2);
  await within(screen.getByRole("article", { name: "All events" })).findByText("1");
});
