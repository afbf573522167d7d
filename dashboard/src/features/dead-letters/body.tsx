import { useState, type ReactNode } from "react";

import { count } from "@/lib/format";
import { indent, lineOf } from "@/lib/json-text";
import { cx } from "@/ui/class-names";
import { CopyButton } from "@/ui/copy-button";
import { Segments } from "@/ui/segments";

import type { DeadLetter } from "./api";

type Form = "indented" | "received";
const FORMS = [
  ["indented", "Formatted"],
  ["received", "As received"],
] as const;

/** The received body. The formatted view highlights the field at fault. */
export function Body({ deadLetter: { body, body_bytes, field } }: { deadLetter: DeadLetter }): ReactNode {
  const readable = isJson(body);
  const [form, setForm] = useState<Form>(readable ? "indented" : "received");
  const text = form === "indented" ? indent(body) : body;
  const marked = form === "indented" ? lineOf(text, field) : -1;
  return (
    <section aria-label="Body">
      <div className="flex flex-wrap items-center gap-2">
        {readable && <Segments label="Format" value={form} choices={FORMS} onChange={setForm} />}
        <span className="mr-auto text-xs text-faint tabular-nums">
          {count(body_bytes)} bytes{readable ? "" : ", not JSON"}
          {body.includes("\uFFFD") && "; \uFFFD marks invalid UTF-8"}
        </span>
        <CopyButton text={text}>Copy</CopyButton>
      </div>
      <pre
        // Long lines scroll, so the keyboard must be able to focus the element.
        // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
        tabIndex={0}
        role="region"
        aria-label="Received body"
        className="mt-3 max-h-80 overflow-auto rounded-lg border border-line bg-page p-4 font-mono text-xs leading-5"
      >
        {text === "" && <span className="text-faint">empty</span>}
        {text.split("\n").map((line, index) => (
          // The index is a stable key because the text never changes.
          <span key={index} className={cx(index === marked && "-mx-4 block bg-bad-soft px-4 font-semibold text-bad")}>
            {line}
            {index === marked ? "" : "\n"}
          </span>
        ))}
      </pre>
    </section>
  );
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
