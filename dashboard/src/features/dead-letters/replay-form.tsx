import { useState, type ReactNode } from "react";

import { Button } from "@/ui/button";
import { Refusal } from "@/ui/refusal";

import { useReplayDeadLetter, type DeadLetter, type Result } from "./api";
import { EventLinks } from "./event-links";

/** Replays the dead letter, unchanged or with an edited body. */
export function ReplayForm({ deadLetter: { id, body, beyond_horizon, replayed_as } }: { deadLetter: DeadLetter }): ReactNode {
  const [text, setText] = useState(body);
  const [accept, setAccept] = useState(false);
  const { mutate, isPending, error, data } = useReplayDeadLetter(id);
  if (replayed_as && !data) return null;
  return (
    <form
      aria-label="Replay"
      className="flex flex-col gap-2.5 text-[13px]"
      onSubmit={(event) => {
        event.preventDefault();
        mutate({ body: text === body ? null : text, accept });
      }}
    >
      <label className="flex flex-col gap-1.5 font-semibold">
        Fix and replay
        <textarea
          value={text}
          onChange={(event) => {
            setText(event.target.value);
          }}
          rows={7}
          spellCheck={false}
          className="resize-y rounded-lg border border-edge bg-panel p-3 font-mono text-xs leading-5 font-normal"
        />
      </label>
      {beyond_horizon && (
        <label className="flex items-start gap-2">
          <input
            type="checkbox"
            checked={accept}
            onChange={(event) => {
              setAccept(event.target.checked);
            }}
            className="mt-0.5"
          />
          Store the event, although it may have been stored before
        </label>
      )}
      <div className="flex flex-wrap items-center gap-2">
        <Button look="filled" type="submit" disabled={isPending}>
          {text === body ? "Replay unchanged" : "Replay edited body"}
        </Button>
        {text !== body && (
          <Button
            look="quiet"
            onClick={() => {
              setText(body);
            }}
          >
            Discard changes
          </Button>
        )}
      </div>
      {error && <Refusal error={error} />}
      {data?.map((result, index) => <Outcome key={index} result={result} />)}
    </form>
  );
}

function Outcome({ result: { status, source, producer, id, field, reason } }: { result: Result }): ReactNode {
  const good = status === "stored" || status === "duplicate";
  return (
    <div role="status" className={good ? "rounded-lg bg-good-soft px-3 py-2.5" : "rounded-lg bg-bad-soft px-3 py-2.5"}>
      <strong className={good ? "font-semibold text-good" : "font-semibold text-bad"}>
        {status === "stored" ? "The event is stored." : good ? "The event was already stored." : `The delivery is still ${status}.`}
      </strong>{" "}
      {field && <code className="font-mono text-xs">{field}</code>} {reason}
      {source && id && <EventLinks keys={[{ source, producer: producer ?? "", id }]} />}
    </div>
  );
}
