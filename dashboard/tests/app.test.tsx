/** The whole page against a server on a real port. */
import { act, fireEvent, render, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { StrictMode } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { declaration, mismatched } from "./support/flows";
import { count, event, frame, frames, START } from "./support/frames";
import { startServer } from "./support/app";
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

async function open(): Promise<void> {
  const { App } = await import("@/app/app");
  render(<App />);
}

async function openLive(): Promise<void> {
  await open();
  await screen.findByText("Live");
}

const row = (order: string): Promise<HTMLElement> =>
  screen.findByRole("button", { name: new RegExp(`order ${order}\\b`) });
const rows = (): string[] =>
  screen
    .queryAllByRole("button", { name: /order ORD/ })
    .map((button) => /order (ORD-\w+?)customer/.exec(button.textContent)?.[1] ?? "");

test("an event appears with the frame that carries it, and the totals follow", async () => {
  server.stats.total_events = 41;
  server.stats.events_by_source = { aws: 41, gcp: 0, azure: 0 };
  await openLive();
  const all = await screen.findByRole("article", { name: "All events" });
  await within(all).findByText("41");

  server.publish(frame(1, [event("x", { source: "gcp", type: "PaymentProcessed" })]));
  Object.assign(server.stats, { position: 1, total_events: 42 }); // for the next request
  expect(await row("ORD-x")).toHaveTextContent("GCP");
  await within(all).findByText("42");
});

test("events appear even if the live client starts twice, as in development", async () => {
  const { App } = await import("@/app/app");
  render(<App />, { wrapper: StrictMode });
  await screen.findByText("Live");
  server.publish(frame(1, [event("x")]));
  await row("ORD-x");
});

test("the page follows a stream behind API Gateway, which sends nothing on connect", async () => {
  server.greets = false;
  server.outbox.publish(...frames(1, 3));
  await openLive();
  await row("ORD-e3");
  expect(server.received).toContain('{"type":"ping"}');
});

test("the list shows earlier events, and shows an event once if the stream repeats it", async () => {
  const stored = { ...event("e1"), data: {}, attributes: {}, digest: "0" };
  server.events = [stored, { ...stored, id: "old", order_id: "ORD-old" }];
  server.outbox.publish(frame(1));
  await openLive();
  await row("ORD-e1");
  await row("ORD-old");
  expect(rows()).toHaveLength(2);
});

test("pause holds the rows and counts new events; resume shows them", async () => {
  server.outbox.publish(...frames(1, 2));
  await openLive();
  await row("ORD-e2");
  await user.click(screen.getByRole("button", { name: "Pause" }));
  server.publish(...frames(3, 7));

  const resume = await screen.findByRole("button", { name: "5 new, resume" });
  expect(rows()).toEqual(["ORD-e2", "ORD-e1"]);
  await user.click(resume);
  await row("ORD-e7");
  expect(rows()).toHaveLength(7);
});

test("the filter is in the URL and applies to the live stream", async () => {
  history.replaceState(null, "", "/?source=azure");
  await openLive();
  server.publish(frame(1, [event("a"), event("b", { source: "azure" })]));
  await row("ORD-b");
  expect(rows()).toEqual(["ORD-b"]);
  expect(screen.getByRole("button", { name: "Azure", pressed: true })).toBeVisible();

  await user.click(screen.getByRole("button", { name: "All" }));
  await row("ORD-a");
  expect(location.search).toBe("");

  await user.type(screen.getByRole("searchbox"), "ord-a");
  await waitFor(() => {
    expect(rows()).toEqual(["ORD-a"]);
  });
  expect(location.search).toBe("?q=ord-a");
  server.publish(frame(2, [event("ab"), event("c")]));
  await row("ORD-ab");
  expect(rows()).not.toContain("ORD-c");
});

test("the page reconnects to a restarted server, misses no event and shows none twice", async () => {
  server.outbox.publish(...frames(1, 3));
  await openLive();
  await row("ORD-e3");
  await server.stop();
  expect(await screen.findByText(/^Reconnecting in \d+ s$/)).toBeVisible();

  server.outbox.publish(...frames(4, 9));
  await server.start();
  await user.click(screen.getByRole("button", { name: "Retry now" }));
  await row("ORD-e9");
  server.send({ type: "frames", frames: frames(2, 9) }); // a restarted relay repeats frames
  server.publish(frame(10));
  await row("ORD-e10");
  expect(new Set(rows()).size).toBe(10);
  expect(rows()).toHaveLength(10);
  expect(screen.queryByText(/missed/)).toBeNull();
});

test("frames that the API no longer has appear as a gap", async () => {
  server.outbox.publish(...frames(1, 3));
  await openLive();
  await row("ORD-e3");
  server.outbox.publish(...frames(4, 99));
  server.outbox.deleteBefore(90);
  server.send({ type: "pong", position: 99 });
  expect(await screen.findByText("86 frames of the stream missed")).toBeVisible();
  await row("ORD-e99");
});

test("a row opens the event, normalised and raw, and its text can be copied", async () => {
  const payload = { z: 1, a: "b" };
  server.events = [{ ...event("x"), producer: "shop/1/us-east-1", data: payload, attributes: {}, digest: "00ff" }];
  const copied = vi.spyOn(navigator.clipboard, "writeText");
  await openLive();
  await user.click(await row("ORD-x"));

  const drawer = await screen.findByRole("dialog", { name: "Event" });
  expect(location.search).toBe("?event=aws%2Fx&producer=shop%2F1%2Fus-east-1");
  expect(await within(drawer).findByText("shop/1/us-east-1")).toBeVisible();
  await user.click(within(drawer).getByRole("button", { name: "Raw payload" }));
  expect(within(drawer).getByRole("region")).toHaveTextContent('{ "z": 1, "a": "b" }');
  await user.click(within(drawer).getByRole("button", { name: "Copy as curl" }));
  expect(copied).toHaveBeenCalledWith(`curl --fail-with-body '${server.url}/api/v1/events/aws/x?producer=shop%2F1%2Fus-east-1'`);
  await within(drawer).findByText("Copied");

  await user.click(within(drawer).getByRole("link", { name: /ORD-x/ }));
  expect(screen.queryByRole("dialog")).toBeNull();
  expect(location.search).toBe("?q=ORD-x");
});

test("an unknown event shows a message", async () => {
  history.replaceState(null, "", "/?event=gcp/none");
  await openLive();
  expect(await screen.findByText("Event not found")).toBeVisible();
});

test("the shortcuts work, except while the viewer types", async () => {
  server.outbox.publish(...frames(1, 3));
  await openLive();
  await row("ORD-e3");

  await user.keyboard("j");
  expect(document.activeElement).toHaveTextContent("ORD-e3");
  await user.keyboard("{ArrowDown}");
  expect(document.activeElement).toHaveTextContent("ORD-e2");
  await user.keyboard("k{Escape}");
  expect(document.body).toHaveFocus();

  await user.keyboard(" ");
  expect(screen.getByText("Paused")).toBeVisible();
  await user.keyboard("/ j?");
  expect(screen.getByRole("searchbox")).toHaveValue(" j?");
  await user.keyboard("{Escape}");
  expect(screen.getByRole("searchbox")).toHaveValue("");
  await user.keyboard("{Escape}");
  expect(screen.queryByText("Paused")).toBeNull();

  await user.keyboard("?");
  expect(await screen.findByRole("dialog", { name: "Keyboard shortcuts" })).toBeVisible();
});

test("a page without its API names the problem, and recovers without a reload", async () => {
  await server.stop();
  await open();
  expect(await screen.findByText(`The API at ${server.url} is not reachable.`, { selector: "strong" })).toBeVisible();
  expect(await screen.findByText("Could not load earlier events")).toBeVisible();

  await server.start();
  server.publish(frame(1, [event("x")], START));
  await screen.findByText("Live");
  await row("ORD-x");
  await waitFor(() => {
    expect(screen.queryByText(`The API at ${server.url} is not reachable.`)).toBeNull();
  });
});

test("the page sends the entered token to the API, and opens the stream with a ticket", async () => {
  server.token = "helios_right";
  server.stats.total_events = 41;
  await open();
  const field = await screen.findByLabelText("Token");
  expect(within(screen.getByRole("dialog")).getByText(/Unknown token\./)).toBeInTheDocument();

  await user.type(field, "helios_wrong{Enter}");
  await user.type(await screen.findByLabelText("Token"), "helios_right{Enter}");

  await screen.findByText("Live");
  expect(screen.queryByLabelText("Token")).not.toBeInTheDocument();
  await within(await screen.findByRole("article", { name: "All events" })).findByText("41");
  expect(location.href).not.toContain("helios_right");
  sessionStorage.clear();
});

test("the sign-in dialog stays open until there is a token, even if the browser closes it", async () => {
  server.token = "helios_right";
  await open();
  const field = await screen.findByLabelText("Token");
  const dialog = screen.getByRole<HTMLDialogElement>("dialog", { name: "Sign in" });
  dialog.close();
  fireEvent(dialog, new Event("close"));
  expect(dialog).toHaveAttribute("open");
  await user.type(field, "helios_right{Enter}");
  await screen.findByText("Live");
  sessionStorage.clear();
});

test("a copied command names the token's variable if the API requires a token", async () => {
  sessionStorage.setItem("helios.token", "helios_right");
  server.token = "helios_right";
  server.events = [{ ...event("x"), data: {}, attributes: {}, digest: "00ff" }];
  const copied = vi.spyOn(navigator.clipboard, "writeText");
  history.replaceState(null, "", "/?event=aws/x&producer=shop");
  await openLive();
  await user.click(await screen.findByRole("button", { name: "Copy as curl" }));
  expect(copied).toHaveBeenCalledWith(
    `curl --fail-with-body -H "Authorization: Bearer $HELIOS_TOKEN" '${server.url}/api/v1/events/aws/x?producer=shop'`,
  );
  sessionStorage.clear();
});

test("pause counts at least the events that a frame shows to match the text", async () => {
  history.replaceState(null, "", "/?q=ORD");
  await openLive();
  await user.click(screen.getByRole("button", { name: "Pause" }));
  server.publish({ ...frame(1), counts: [count("aws", "OrderPlaced", 500)] });
  await screen.findByRole("button", { name: "at least 1 new, resume" });
});

test("the charts show 15 minutes from before the page was opened", async () => {
  const more = Array.from({ length: 600 }, (_, index) => frame(index + 1, undefined, Date.now()));
  server.outbox.publish(...more); // more than the page looks back to
  await openLive();
  expect(await screen.findByText("events per second, last 15 minutes")).toBeVisible();
});

test("the theme button cycles through the themes, and the browser stores the theme", async () => {
  await openLive();
  await user.click(screen.getByRole("button", { name: /Theme: system/ }));
  expect(document.documentElement).toHaveAttribute("data-theme", "light");
  expect(localStorage.getItem("helios-theme")).toBe("light");
  act(() => {
    localStorage.clear();
  });
  await user.click(screen.getByRole("button", { name: /Theme: light/ }));
  await user.click(screen.getByRole("button", { name: /Theme: dark/ }));
  expect(document.documentElement).not.toHaveAttribute("data-theme");
});

test("the events of a selected period do not move, are in the URL, and can be replayed", async () => {
  server.events = [{ ...event("old"), data: {}, attributes: {}, digest: "0" }];
  await openLive();
  await user.click(screen.getByRole("button", { name: "7 days" }));
  expect(location.search).toBe("?last=7d");
  await screen.findByText("Stored events");
  await row("ORD-old");
  expect(server.eventQueries.at(-1)).toMatch(/^since=[^&]+&limit=100$/);
  server.publish(frame(1, [event("fresh")]));
  await user.click(screen.getByRole("button", { name: "AWS" }));
  await row("ORD-old");
  expect(rows()).toEqual(["ORD-old"]);
  await user.click(screen.getByRole("button", { name: "Replay these events" }));
  const dialog = within(await screen.findByRole("dialog", { name: "Replay events" }));
  await user.click(await dialog.findByRole("radio", { name: "Webhook" }));
  await user.type(dialog.getByRole("textbox", { name: "Webhook URL" }), "https://shop.example/hook");
  await user.click(await dialog.findByRole("button", { name: "Replay 1,200" }));
  await dialog.findByRole("progressbar");
  expect(server.replays.requests.at(-1)).toMatchObject({
    what: "events",
    dry_run: false,
    filter: { source: "aws", type: null, order_id: null, until: null },
    target: { kind: "webhook", url: "https://shop.example/hook", cloud: null },
  });
  await user.click(dialog.getByRole("button", { name: "Close" }));
  await user.click(screen.getByRole("button", { name: "Live" }));
  await row("ORD-fresh");
});

test("an event is compared with its payload, and shows the status of its order", async () => {
  const payload = { order_id: "ORD-x", amount: 12.5, items: [1] };
  server.events = [{ ...event("x"), data: payload, attributes: {}, digest: "00ff" }];
  server.flows = [mismatched("ORD-x")];
  const leg = { source: "aws" as const, type: "OrderPlaced", name: "order", optional: false };
  server.declarations = [declaration("order", leg)];
  history.replaceState(null, "", "/?event=aws/x&producer=shop");
  await openLive();
  expect(await screen.findByText("Mismatched")).toBeVisible();
  expect(screen.getByText("Quantity: AWS ordered 3, Azure reserved 2")).toBeVisible();
  await user.click(screen.getByRole("button", { name: "Difference" }));
  const table = within(screen.getByRole("table", { name: "Fields that Helios reads from the payload" }));
  expect(table.getByRole("row", { name: "order_id ORD-x data.order_id" })).toBeVisible();
  expect(table.getByRole("row", { name: "producer shop envelope" })).toBeVisible();
  expect(screen.getByText("amount, items")).toBeVisible();
});
