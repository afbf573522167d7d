import { vi } from "vitest";

/** The longest wait on a busy machine; a passing test never waits that long. */
export const PATIENCE_MS = 10_000;

/** Waits until the expectations hold. */
export function eventually(expectations: () => void): Promise<void> {
  return vi.waitFor(expectations, { timeout: PATIENCE_MS });
}
