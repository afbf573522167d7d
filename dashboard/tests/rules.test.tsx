/** The rules of flows: edited, previewed, approved and exported, against a server on a real port. */
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { diffOf } from "@/lib/diff";

import { SHIPPED } from "./support/rules";
import { openApp, startServer } from "./support/app";
import { type TestServer } from "./support/server";

vi.mock("@/features/charts/throughput-chart", () => ({ default: () => null })); // jsdom measures nothing
window.scrollTo = () => undefined;
// jsdom has no modal dialogs.
HTMLDialogElement.prototype.showModal = function showModal() {
  this.open = true;
};
HTMLDialogElement.prototype.close = function close() {
  this.open = false;
};

const EDITED = SHIPPED.replace("60", "90");

let server: TestServer;
let user: ReturnType<typeof userEvent.setup>;

beforeEach(async () => {
  server = await startServer();
  user = userEvent.setup();
});

afterEach(async () => {
  await server.stop();
});

async function visit(): Promise<HTMLElement> {
  await openApp("/?view=rules");
  await screen.findByText("Live");
  return screen.findByRole("textbox", { name: "Rules as TOML" });
}

async function enter(area: HTMLElement, text: string): Promise<void> {
  await user.clear(area);
  await user.click(area);
  await user.paste(text);
}

const button = (name: string): HTMLElement => screen.getByRole("button", { name });

test("a text stays when the API lists the sources only after the page has opened", async () => {
  document.documentElement.style.removeProperty("--badge"); // the page sets it as soon as it has the list
  server.broken.add("/api/v1/sources");
  const area = await visit();
  await enter(area, EDITED);

  server.broken.clear();
  window.dispatchEvent(new Event("visibilitychange")); // requests again what has failed
  await waitFor(() => {
    expect(document.documentElement.style.getPropertyValue("--badge")).not.toBe("");
  });
  expect(screen.getByRole("textbox", { name: "Rules as TOML" })).toBe(area);
  expect(area).toHaveValue(EDITED);
});

test("a viewer saves a draft, previews it, and puts it in force after a confirmation", async () => {
  server.rules.preview = {
    changes: [{ recorded: "mismatched", previewed: "matched", compared: 120, estimated: 12_000 }],
    examples: [{ key: "ORD-1", recorded: "mismatched", previewed: "matched", issues: [] }],
  };
  const area = await visit();
  expect(area).toHaveValue(SHIPPED);
  expect(button("Preview the last 30 days")).toBeDisabled();
  expect(button("Approve")).toBeDisabled();

  await enter(area, EDITED);
  await user.click(button("Save draft"));
  expect(await screen.findByText("draft 1")).toBeVisible();
  expect(button("Approve")).toBeDisabled();

  await user.click(button("Preview the last 30 days"));
  const preview = await screen.findByRole("region", { name: "Preview" });
  expect(within(preview).getByRole("row", { name: "Mismatched Matched 120 12,000" })).toBeVisible();
  expect(preview).toHaveTextContent("20 of 20 problems and 10,000 of 1,000,000 other orders");
  expect(preview).toHaveTextContent("ORD-1");

  await waitFor(() => {
    expect(button("Approve")).toBeEnabled();
  });
  await user.click(button("Approve"));
  const dialog = await screen.findByRole("dialog", { name: "Approve rules" });
  expect(dialog).toHaveTextContent("Removed: grace_seconds = 60");
  expect(dialog).toHaveTextContent("Added: grace_seconds = 90");
  expect(dialog).toHaveTextContent("about 12,000 verdicts");
  expect(server.rules.rules.in_force).toBeNull();
  await user.click(within(dialog).getByRole("button", { name: "Put in force" }));

  expect(await screen.findByText(/evaluating the stored orders by this version: 1,200 events read/)).toBeVisible();
  expect(server.rules.rules.in_force?.text).toBe(EDITED);
  expect(await screen.findByText("in force")).toBeVisible();
});

test("a mistake is shown with its key and reason, and its line can be selected", async () => {
  const reason = "Expected `float`, got `str`";
  server.rules.refusal = [422, { detail: "line 3", errors: [{ field: "flow[0].grace_seconds", reason, line: 3 }] }];
  const area = await visit();
  await enter(area, SHIPPED.replace("60", '"60"'));
  await user.click(button("Save draft"));

  const mistakes = await screen.findByRole("list", { name: "Mistakes" });
  expect(mistakes).toHaveTextContent(`Line 3: flow[0].grace_seconds ${reason}`);
  await user.click(within(mistakes).getByRole("button", { name: "Line 3" }));
  const { value, selectionStart, selectionEnd } = area as HTMLTextAreaElement;
  expect(value.slice(selectionStart, selectionEnd)).toBe('grace_seconds = "60"');
});

test("a viewer does not overwrite what another person saved meanwhile, and may base the text on it", async () => {
  const area = await visit();
  server.rules.add(SHIPPED.replace("60", "30"), "lee");
  await enter(area, EDITED);
  await user.click(button("Save draft"));

  expect(await screen.findByText(/lee has saved version 1/)).toBeVisible();
  const base = await screen.findByRole("button", { name: "Base my text on version 1" });
  expect(screen.getByRole("region", { name: "Difference" })).toHaveTextContent("Removed: grace_seconds = 30");
  expect(area).toHaveValue(EDITED);
  await user.click(base);
  await user.click(button("Save draft"));
  expect(await screen.findByText("draft 2")).toBeVisible();
  expect(server.rules.versions.map(({ state }) => state)).toEqual(["replaced", "draft"]);
});

test("a flow that a file owns is read-only and says so", async () => {
  const reason = "is declared in /etc/flows.toml, which HELIOS_FLOWS_FILE names, and is read-only here: edit that file";
  server.rules.rules = { ...server.rules.rules, owner: "file", read_only: reason };
  const area = await visit();
  expect(area).toHaveAttribute("readonly");
  expect(screen.getByRole("note")).toHaveTextContent(`order ${reason}`);
  expect(screen.queryByRole("button", { name: "Save draft" })).toBeNull();
  expect(screen.queryByRole("button", { name: "Export" })).toBeNull();
});

test("the export has the bytes of the author", async () => {
  const blobs: Blob[] = [];
  vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(() => undefined);
  URL.createObjectURL = (blob: Blob) => {
    blobs.push(blob);
    return "blob:1";
  };
  URL.revokeObjectURL = () => undefined;
  await visit();
  await user.click(button("Export"));
  await waitFor(() => {
    expect(blobs).toHaveLength(1);
  });
  expect(blobs[0]?.size).toBe(SHIPPED.length);
});

test("the history shows what each version changed, and an earlier text can be edited again", async () => {
  server.rules.add(SHIPPED, "kim");
  server.rules.add(EDITED, "lee");
  const area = await visit();
  expect(area).toHaveValue(EDITED);
  const [newest, oldest] = await within(await screen.findByRole("list", { name: "Versions" })).findAllByRole("listitem");
  if (!newest || !oldest) throw new Error("there are two versions");
  await user.click(within(newest).getByRole("button", { name: "Show changes" }));
  expect(newest).toHaveTextContent("Added: grace_seconds = 90");
  await user.click(within(oldest).getByRole("button", { name: "Edit this text" }));
  expect(area).toHaveValue(SHIPPED);
});

test("a flow that only its versions declare is withdrawn after a question", async () => {
  const version = { ...server.rules.add(SHIPPED, "kim"), state: "in_force" as const, approved_at: "2026-01-02T03:04:00Z", approved_by: "lee" };
  server.rules.versions = [version];
  server.rules.rules = { ...server.rules.rules, owner: "version", in_force: version, draft: null };
  await visit();
  const versions = await screen.findByRole("list", { name: "Versions" });
  expect(within(versions).queryByRole("button", { name: "Withdraw" })).toBeNull();
  server.rules.rules = { ...server.rules.rules, can_withdraw: true };
  await user.click(await within(versions).findByRole("button", { name: "Withdraw" }));
  expect(await screen.findByRole("dialog", { name: "Withdraw rules" })).toHaveTextContent("Its orders stay stored as they are");
  expect(server.rules.versions[0]?.state).toBe("in_force");
  await user.click(button("End this flow"));
  await waitFor(() => {
    expect(versions).toHaveTextContent("withdrawn by me");
  });
  expect(screen.queryByRole("dialog")).toBeNull();
});

test("a difference has every line of both texts", () => {
  expect(diffOf("a\nb\nc", "b\nc\nd").map(({ kind, text }) => `${kind} ${text}`)).toEqual([
    "removed a",
    "same b",
    "same c",
    "added d",
  ]);
});

test("all lines of a first version are added, also empty ones", () => {
  expect(diffOf("", "a\n\nb").map(({ kind }) => kind)).toEqual(["added", "added", "added"]);
  expect(diffOf("", "")).toEqual([]);
});
