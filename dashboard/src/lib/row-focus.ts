/** Keyboard navigation through the rows of a view's list. */

/** The ID of the element that holds the rows; a view has at most one. */
export const ROWS_ID = "rows";

const STEPS: Record<string, number> = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, Home: -Infinity, End: Infinity };

/** Moves the focus from the current row, or from above the first row; returns false for any other key. */
export function moveFocus(key: string): boolean {
  const step = STEPS[key];
  if (step === undefined) return false;
  const rows = [...document.querySelectorAll<HTMLElement>(`#${ROWS_ID} [data-row]`)];
  const at = rows.findIndex((row) => row === document.activeElement);
  const to = at === -1 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step));
  rows[to]?.focus();
  return true;
}
