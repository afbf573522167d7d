/** The whole dashboard in jsdom, against a server on a real port. */
import { render } from "@testing-library/react";
import { vi } from "vitest";

import { TestServer } from "./server";

/** A server of its own for the next `openApp`, whose modules are loaded again: they keep the address of the server. */
export async function startServer(): Promise<TestServer> {
  const server = await TestServer.start();
  window.heliosConfig = { apiUrl: server.url, wsUrl: server.wsUrl };
  vi.resetModules();
  return server;
}

/** Open the dashboard at an address such as `/?view=rules`. */
export async function openApp(address: string): Promise<void> {
  history.replaceState(null, "", address);
  const { App } = await import("@/app/app");
  render(<App />);
}
