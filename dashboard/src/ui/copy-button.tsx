import { useEffect, useState, type ReactNode } from "react";

import { Button } from "./button";
import { Icon } from "./icons";

const SHOWN_MS = 2000;

/** Copies a text, and shows whether that succeeded. */
export function CopyButton({ text, children }: { text: string; children: string }): ReactNode {
  const [outcome, setOutcome] = useState<"Copied" | "Copy failed" | null>(null);

  useEffect(() => {
    if (!outcome) return;
    const timer = setTimeout(() => {
      setOutcome(null);
    }, SHOWN_MS);
    return () => {
      clearTimeout(timer);
    };
  }, [outcome]);

  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      setOutcome("Copied");
    } catch {
      setOutcome("Copy failed");
    }
  };

  return (
    <Button onClick={() => void copy()}>
      <Icon name={outcome === "Copied" ? "check" : "copy"} className="size-3.5" />
      <span aria-live="polite">{outcome ?? children}</span>
    </Button>
  );
}
