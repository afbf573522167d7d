import { vi } from "vitest";

/** On a busy machine anything may take a while; a test that passes never waits so long. */
export const PATIENCE_MS = 10_000;

/** Wait until the expectations in it hold. */
export function eventually(expectations: () => void): Promise<void> {
  return vi.waitFor(expectations, { timeout: PATIENCE_MS });
}
