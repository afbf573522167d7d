import { useState, type ReactNode } from "react";

import type { ReplayRequest } from "@/api/replay";
import { count } from "@/lib/format";
import { isCloud } from "@/lib/sources";
import { useView, type ReplayDraft } from "@/state/view";
import { Button } from "@/ui/button";
import { Notice } from "@/ui/notice";
import { Refusal } from "@/ui/refusal";
import { TitledDialog } from "@/ui/titled-dialog";

import { useJob, useStart } from "./api";
import { JobCard } from "./job-card";
import { Preview } from "./preview";
import { TargetFields, type TargetDraft } from "./target-fields";
import { NAMES, scopeOf } from "./wording";

const RATES = { least: 1, first: 100, most: 10_000 };

/** Starts a replay: shows the number of items, takes the target and the rate, then shows the progress. */
export default function ReplayDialog({ draft }: { draft: ReplayDraft }): ReactNode {
  const { openReplay } = useView();
  const starting = useStart();
  const close = (): void => {
    openReplay(null);
  };
  const [, many] = NAMES[draft.what];
  return (
    <TitledDialog title={`Replay ${many}`} about={scopeOf(draft)} onClose={close}>
      <div className="px-5 pt-3 pb-5">
        {starting.data ? (
          <Started id={starting.data.id} />
        ) : (
          <Form draft={draft} pending={starting.isPending} error={starting.error} onStart={starting.mutate} />
        )}
      </div>
    </TitledDialog>
  );
}

function Started({ id }: { id: number }): ReactNode {
  const { data } = useJob(id);
  return data ? <JobCard job={data} /> : <Notice title="Starting" />;
}

interface FormProps {
  draft: ReplayDraft;
  pending: boolean;
  error: Error | null;
  onStart: (request: ReplayRequest) => void;
}

function Form({ draft, pending, error, onStart }: FormProps): ReactNode {
  const [rate, setRate] = useState(RATES.first);
  const [aim, setAim] = useState<TargetDraft>({ kind: draft.what === "events" ? "relay" : "ingest", url: "" });
  const [matching, setMatching] = useState<number | null>(null);
  return (
    <form
      className="flex flex-col gap-4 text-[13px]"
      onSubmit={(event) => {
        event.preventDefault();
        onStart(requestOf(draft, aim, rate));
      }}
    >
      <Preview request={requestOf(draft, { kind: draft.what === "events" ? "relay" : "ingest", url: "" }, rate)} onKnown={setMatching} rate={rate} />
      {draft.what === "events" && <TargetFields aim={aim} source={draft.filter.source} onChange={setAim} />}
      <label className="flex items-center gap-2.5 font-medium">
        Send at most
        <input
          type="number"
          required
          min={RATES.least}
          max={RATES.most}
          value={Number.isNaN(rate) ? "" : rate}
          onChange={({ target }) => {
            setRate(target.valueAsNumber);
          }}
          className="h-8 w-24 rounded-lg border border-edge bg-panel px-2.5 text-right font-normal tabular-nums"
        />
        per second
      </label>
      {error && <Refusal error={error} />}
      <Button look="filled" type="submit" className="self-end" disabled={pending || !matching}>
        {matching ? `Replay ${count(matching)}` : "Replay"}
      </Button>
    </form>
  );
}

function requestOf({ what, filter }: ReplayDraft, { kind, url }: TargetDraft, rate: number): ReplayRequest {
  const cloud = kind === "cloud" && isCloud(filter.source) ? filter.source : null;
  return {
    what,
    filter: { type: null, order_id: null, field: null, reason: null, status: null, ...filter },
    target: { kind, url: kind === "webhook" ? url : null, cloud },
    per_second: Number.isNaN(rate) ? RATES.first : rate,
    dry_run: false,
  };
}
