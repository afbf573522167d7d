import { useRef, useState, type ReactNode } from "react";

import { ApiError } from "@/api/http";
import { Button } from "@/ui/button";
import { Refusal } from "@/ui/refusal";

import { ApproveDialog } from "./approve-dialog";
import { usePreview, useSave, type FlowRules, type FlowVersion } from "./api";
import { Diff } from "./diff";
import { Preview } from "./preview";

interface EditorProps {
  /** Null for a new flow. */
  rules: FlowRules | null;
  text: string;
  onText: (text: string) => void;
  /** Called with the name of the flow that was saved. */
  onSaved: (flow: string) => void;
}

/** The text of one flow: a viewer edits it, saves a draft, previews and approves it. */
export function Editor({ rules, text, onText, onSaved }: EditorProps): ReactNode {
  const area = useRef<HTMLTextAreaElement>(null);
  // The latest version that this viewer has seen: if somebody saves another one, the API refuses to overwrite it.
  const [basedOn, setBasedOn] = useState(rules?.latest ?? null);
  const [approving, setApproving] = useState<FlowVersion | null>(null);
  const save = useSave();
  const preview = usePreview();
  const draft = rules?.draft?.text === text ? rules.draft : null;
  const isBusy = save.isPending || preview.isPending;
  const seen = rules?.latest ?? null;
  const isOutdated = basedOn !== seen && save.error instanceof ApiError && save.error.status === 409;
  return (
    <div className="flex flex-col gap-3 px-4 pb-4 text-[13px] sm:px-5">
      <textarea
        ref={area}
        aria-label="Rules as TOML"
        value={text}
        spellCheck={false}
        wrap="off"
        rows={Math.min(32, Math.max(16, text.split("\n").length + 1))}
        onChange={(event) => {
          onText(event.target.value);
        }}
        className="w-full rounded-lg border border-edge bg-page p-3 font-mono text-xs leading-5"
      />
      <div className="flex flex-wrap gap-2">
        <Button
          look={draft ? "outlined" : "filled"}
          disabled={isBusy || draft !== null || !text.trim()}
          onClick={() => {
            preview.reset();
            save.mutate(
              { text, based_on: basedOn },
              {
                onSuccess: (saved) => {
                  setBasedOn(saved.version);
                  onSaved(saved.flow);
                },
              },
            );
          }}
        >
          {save.isPending ? "Saving" : "Save draft"}
        </Button>
        <Button
          look={draft && !draft.previewed_at ? "filled" : "outlined"}
          disabled={isBusy || !draft}
          onClick={() => {
            if (draft) preview.mutate(draft);
          }}
        >
          {preview.isPending ? "Previewing" : "Preview the last 30 days"}
        </Button>
        <Button
          look={draft?.previewed_at ? "filled" : "outlined"}
          disabled={isBusy || !draft?.previewed_at}
          onClick={() => {
            setApproving(draft);
          }}
        >
          Approve
        </Button>
      </div>
      {save.error && (
        <SaveError
          error={save.error}
          onGo={(line) => {
            area.current?.focus();
            area.current?.setSelectionRange(...lineBounds(text, line));
          }}
        />
      )}
      {isOutdated && rules && (
        <Outdated
          rules={rules}
          text={text}
          onAccept={() => {
            setBasedOn(seen);
            save.reset();
          }}
        />
      )}
      {preview.error && <Refusal error={preview.error} scope="rules" />}
      {preview.data && draft && <Preview preview={preview.data} />}
      {approving && (
        <ApproveDialog
          version={approving}
          inForce={rules?.text ?? null}
          preview={preview.data ?? null}
          onClose={() => {
            setApproving(null);
          }}
        />
      )}
    </div>
  );
}

/** The mistakes in the text, each a button that goes to its line; or why the API refused the draft. */
function SaveError({ error, onGo }: { error: Error; onGo: (line: number) => void }): ReactNode {
  const placed = error instanceof ApiError ? error.errors.filter(({ line }) => line) : [];
  if (placed.length === 0) return <Refusal error={error} scope="rules" />;
  return (
    <div role="alert" className="rounded-lg bg-bad-soft px-3 py-2.5">
      <ul aria-label="Mistakes">
        {placed.map(({ field, reason, line }) => (
          <li key={`${field} ${reason}`}>
            <button
              type="button"
              className="min-h-6 text-left underline underline-offset-2"
              onClick={() => {
                onGo(line ?? 1);
              }}
            >
              Line {line}
            </button>
            <span className="break-words">
              : <code className="font-mono text-xs">{field}</code> {reason}
            </span>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** Another person has saved a version: its difference to this text, and the choice to go on from it. */
function Outdated({ rules, text, onAccept }: { rules: FlowRules; text: string; onAccept: () => void }): ReactNode {
  const other = rules.draft ?? rules.in_force;
  if (!other) return null;
  return (
    <div>
      <p className="mb-2 text-soft">
        What your text changes in version {other.version} of {other.saved_by}:
      </p>
      <Diff before={other.text} after={text} />
      <Button className="mt-2" onClick={onAccept}>
        Base my text on version {other.version}
      </Button>
    </div>
  );
}

/** The places of the first and after the last character of a line, counted from 1. */
function lineBounds(text: string, line: number): [number, number] {
  const lines = text.split("\n");
  const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  return [start, start + (lines[line - 1]?.length ?? 0)];
}
