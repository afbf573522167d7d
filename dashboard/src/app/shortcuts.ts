/** The keyboard shortcuts. They ignore keys typed into a field, and Space on a button. */
import { useEffect } from "react";

import { moveFocus } from "@/lib/row-focus";
import { isShown } from "@/state/address";
import { useView } from "@/state/view";
import { SEARCH_ID } from "@/ui/search-field";

export const SHORTCUTS: [keys: string[], does: string][] = [
  [["/"], "Search"],
  [["Space"], "Pause or resume the stream"],
  [["↓", "j"], "Go to the next row"],
  [["↑", "k"], "Go to the previous row"],
  [["Enter"], "Open the row"],
  [["Esc"], "Close, clear the search, or resume"],
  [["?"], "Show keyboard shortcuts"],
];

const WRITES = "input, select, textarea";
const TAKES_SPACE = `${WRITES}, button, a, summary`;

export function useShortcuts(): void {
  useEffect(() => {
    addEventListener("keydown", onKeyDown);
    return () => {
      removeEventListener("keydown", onKeyDown);
    };
  }, []);
}

function onKeyDown(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  const target = event.target instanceof Element ? event.target : document.body;
  if (target.matches(WRITES)) return;
  if (act(event.key, target)) event.preventDefault();
}

function act(key: string, target: Element): boolean {
  const { paused, setPaused, showHelp } = useView.getState();
  switch (key) {
    case "/":
      document.getElementById(SEARCH_ID)?.focus();
      return true;
    case "?":
      showHelp(true);
      return true;
    case " ":
      if (target.matches(TAKES_SPACE) || !isShown("events")) return false;
      setPaused(!paused);
      return true;
    case "Escape":
      setPaused(false);
      return true;
    case "j":
    case "k":
      // The arrow keys move the focus only within the list: elsewhere they scroll the page.
      return moveFocus(key);
    default:
      return false;
  }
}
