/** Moving by keyboard through the rows of the view's list. */

/** The element that holds the rows; a view has one at most. */
export const ROWS_ID = "rows";

const STEPS: Record<string, number> = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, Home: -Infinity, End: Infinity };

/** Focus the row that this key leads to, from the one in focus or from above the first; false: no such key. */
export function moveFocus(key: string): boolean {
  const step = STEPS[key];
  if (step === undefined) return false;
  const rows = [...document.querySelectorAll<HTMLElement>(`#${ROWS_ID} [data-row]`)];
  const at = rows.findIndex((row) => row === document.activeElement);
  const to = at === -1 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step));
  rows[to]?.focus();
  return true;
}
