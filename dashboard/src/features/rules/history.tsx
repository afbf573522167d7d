import { useState, type ReactNode } from "react";

import { Button } from "@/ui/button";
import { Moment } from "@/ui/moment";
import { Notice, Skeleton } from "@/ui/notice";
import { Panel } from "@/ui/panel";

import { useHistory, type FlowRules, type FlowVersion } from "./api";
import { Diff } from "./diff";
import { WithdrawDialog } from "./withdraw-dialog";

const STATES: Record<FlowVersion["state"], string> = {
  draft: "draft",
  in_force: "in force",
  superseded: "superseded",
  replaced: "replaced draft",
  withdrawn: "withdrawn",
};

/** The versions of a flow: who saved and approved each, and what it changed. */
export function History({ rules, onRestore }: { rules: FlowRules; onRestore: (text: string) => void }): ReactNode {
  const { data, error, refetch } = useHistory(rules.flow, rules.latest);
  const [opened, setOpened] = useState<number | null>(null);
  const [withdrawn, setWithdrawn] = useState<FlowVersion | null>(null);
  return (
    <Panel title="History">
      <div className="px-4 pb-4 text-[13px] sm:px-5">
        {error && !data ? (
          <Notice tone="bad" title="Could not load the history" onRetry={() => void refetch()}>
            {error.message}
          </Notice>
        ) : data?.length === 0 ? (
          <p className="text-soft">Nobody has saved a version yet.</p>
        ) : data ? (
          <ol aria-label="Versions">
            {data.map((version, index) => (
              <li key={version.version} className="border-t border-line py-2 first:border-t-0">
                <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
                  <span className="font-semibold">Version {version.version}</span>
                  <span className={version.state === "in_force" ? "text-good" : "text-soft"}>{STATES[version.state]}</span>
                  <span className="ml-auto flex gap-1">
                    <Button
                      look="quiet"
                      aria-expanded={opened === version.version}
                      onClick={() => {
                        setOpened(opened === version.version ? null : version.version);
                      }}
                    >
                      {opened === version.version ? "Hide changes" : "Show changes"}
                    </Button>
                    <Button
                      look="quiet"
                      onClick={() => {
                        onRestore(version.text);
                      }}
                    >
                      Edit this text
                    </Button>
                    {rules.can_withdraw && version.state === "in_force" && (
                      <Button
                        look="quiet"
                        onClick={() => {
                          setWithdrawn(version);
                        }}
                      >
                        Withdraw
                      </Button>
                    )}
                  </span>
                </div>
                <Facts version={version} />
                {opened === version.version && <Diff before={data[index + 1]?.text ?? ""} after={version.text} />}
              </li>
            ))}
          </ol>
        ) : (
          <Skeleton className="h-16" />
        )}
      </div>
      {withdrawn && (
        <WithdrawDialog
          version={withdrawn}
          onClose={() => {
            setWithdrawn(null);
          }}
        />
      )}
    </Panel>
  );
}

function Facts({ version }: { version: FlowVersion }): ReactNode {
  const { saved_at, saved_by, approved_at, approved_by, withdrawn_at, withdrawn_by } = version;
  return (
    <p className="mb-1.5 text-xs break-words text-faint">
      saved by {saved_by}, <Moment at={saved_at} />
      {approved_at && (
        <>
          ; approved by {approved_by}, <Moment at={approved_at} />
        </>
      )}
      {withdrawn_at && (
        <>
          ; withdrawn by {withdrawn_by}, <Moment at={withdrawn_at} />
        </>
      )}
    </p>
  );
}
