import { useState, type ReactNode } from "react";

import { download } from "@/lib/download";
import { count } from "@/lib/format";
import { go, toRules, useAddress } from "@/state/address";
import { Button } from "@/ui/button";
import { Notice, Skeleton } from "@/ui/notice";
import { Panel } from "@/ui/panel";
import { Refusal } from "@/ui/refusal";

import { textOf, useFlowRules, type FlowRules } from "./api";
import { Editor } from "./editor";
import { FlowList, ownerOf } from "./flow-list";
import { History } from "./history";

const NEW_FLOW = `[[flow]]
name = "my_flow"
key = "order_id"
window_seconds = 30
grace_seconds = 60

[[flow.leg]]
name = "order"
source = "aws"
type = "OrderPlaced"
`;

/** The address of the editor for a flow that has no name yet: no flow can be named like this. */
const NEW = "+";

/** The rules of the flows, and the editor of one. */
export default function RulesView(): ReactNode {
  const { rules: chosen } = useAddress();
  const { data, error, refetch } = useFlowRules();
  if (error && !data) {
    return (
      <Notice tone="bad" title="Could not load the rules" onRetry={() => void refetch()}>
        {error.message}
      </Notice>
    );
  }
  if (!data) return <Skeleton className="h-96" />;
  const shown = data.find(({ flow }) => flow === chosen) ?? (chosen === NEW ? null : (data[0] ?? null));
  return (
    <>
      <div className="flex flex-wrap items-center justify-between gap-2 px-1">
        <h2 className="text-base font-semibold tracking-tight">Rules</h2>
        <Button
          onClick={() => {
            go(toRules(NEW));
          }}
        >
          New flow
        </Button>
      </div>
      <div className="grid grid-cols-1 items-start gap-3 sm:gap-4 xl:grid-cols-3">
        <FlowList flows={data} chosen={shown?.flow ?? null} />
        <div className="flex min-w-0 flex-col gap-3 sm:gap-4 xl:col-span-2">
          <Flow key={shown?.flow ?? NEW} rules={shown} />
        </div>
      </div>
    </>
  );
}

/** One flow: its text, and its history. */
function Flow({ rules }: { rules: FlowRules | null }): ReactNode {
  const [text, setText] = useState(rules?.draft?.text ?? rules?.text ?? NEW_FLOW);
  return (
    <>
      <Panel
        title={rules ? `Rules of ${rules.flow}` : "A new flow"}
        aside={
          rules && (
            <span className="flex flex-wrap items-center gap-3 text-[13px] text-soft">
              {ownerOf(rules)}
              {!rules.read_only && rules.text !== null && <Export flow={rules.flow} />}
            </span>
          )
        }
      >
        {rules && <Recompute rules={rules} />}
        {rules?.read_only ? (
          <ReadOnly flow={rules.flow} text={rules.text ?? ""} reason={rules.read_only} />
        ) : (
          <Editor
            rules={rules}
            text={text}
            onText={setText}
            onSaved={(flow) => {
              if (flow !== rules?.flow) go(toRules(flow));
            }}
          />
        )}
      </Panel>
      {rules && <History rules={rules} onRestore={setText} />}
    </>
  );
}

function ReadOnly({ flow, text, reason }: { flow: string; text: string; reason: string }): ReactNode {
  return (
    <div className="flex flex-col gap-3 px-4 pb-4 text-[13px] sm:px-5">
      <p role="note" className="rounded-lg bg-raised px-3 py-2.5 break-words">
        <strong>{flow}</strong> {reason}
      </p>
      <textarea
        aria-label="Rules as TOML"
        readOnly
        value={text}
        wrap="off"
        rows={Math.min(32, text.split("\n").length + 1)}
        className="w-full rounded-lg border border-edge bg-raised p-3 font-mono text-xs leading-5"
      />
    </div>
  );
}

/** How far the stored orders are evaluated by the version in force. */
function Recompute({ rules }: { rules: FlowRules }): ReactNode {
  const recompute = rules.in_force?.recompute;
  if (!recompute) return null;
  const { events, instances, finished_at } = recompute;
  return (
    <p role="status" className="px-4 pb-3 text-[13px] text-soft sm:px-5">
      {finished_at
        ? `The stored orders are evaluated by this version: ${count(instances)} of them changed.`
        : `Helios is evaluating the stored orders by this version: ${count(events)} events read, ${count(instances)} orders changed.`}
    </p>
  );
}

/** Downloads the rules in force, byte for byte as their author wrote them. */
function Export({ flow }: { flow: string }): ReactNode {
  const [error, setError] = useState<Error | null>(null);
  return (
    <>
      <Button
        onClick={() => {
          textOf(flow, null).then(
            (text) => {
              setError(null);
              download(text, `${flow}.toml`, "application/toml");
            },
            (reason: unknown) => {
              setError(reason instanceof Error ? reason : new Error(String(reason)));
            },
          );
        }}
      >
        Export
      </Button>
      {error && <Refusal error={error} scope="rules" />}
    </>
  );
}
