import type { ReactNode } from "react";

import type { FlowInstanceDetails } from "@/api/flows";
import { Button } from "@/ui/button";
import { Moment } from "@/ui/moment";
import { Panel } from "@/ui/panel";
import { Refusal } from "@/ui/refusal";

import { useDiagnoses, useRecover, useRecoveries, type Diagnosis, type Recovery } from "./api";

const FINDINGS: Record<Diagnosis["finding"], string> = {
  never_reached_bus: "Never reached the bus",
  not_delivered: "Reached the bus, not delivered",
  refused: "Delivered, refused",
  unknown: "Unknown",
};

const STATES: Record<Recovery["state"], string> = {
  running: "searching",
  recovered: "brought back",
  not_found: "not found",
  refused: "refused",
  failed: "failed",
};

/** Why legs of one order are missing, the button that brings each back, and what became of that. */
export function RecoveryPanel({ instance }: { instance: FlowInstanceDetails }): ReactNode {
  const { data: recoveries, error } = useRecoveries(instance);
  const running = new Set(recoveries?.filter(({ state }) => state === "running").map(({ leg }) => leg));
  const outcomes = recoveries?.map(({ id, state }) => `${id} ${state}`).join() ?? "";
  const missing = instance.legs.filter(({ state }) => state === "missing");
  const { data: diagnoses, error: unknown } = useDiagnoses(
    instance,
    `${instance.updated_at} ${outcomes}`,
    missing.length > 0,
  );
  if (missing.length === 0 && !recoveries?.length) return null;
  return (
    <Panel title="Missing events">
      <div className="flex flex-col gap-3 px-4 pb-4 text-[13px] sm:px-5">
        {unknown && <p className="text-soft">{unknown.message}</p>}
        {missing.length > 0 && diagnoses?.map((diagnosis) => (
          <MissingLeg
            key={diagnosis.leg}
            instance={instance}
            diagnosis={diagnosis}
            isRunning={running.has(diagnosis.leg)}
          />
        ))}
        {error && <p className="text-soft">{error.message}</p>}
        {recoveries && recoveries.length > 0 && (
          <ol aria-label="Recoveries">
            {recoveries.map((recovery) => (
              <RecoveryLine key={recovery.id} recovery={recovery} />
            ))}
          </ol>
        )}
      </div>
    </Panel>
  );
}

interface MissingLegProps {
  instance: FlowInstanceDetails;
  diagnosis: Diagnosis;
  isRunning: boolean;
}

function MissingLeg({ instance, diagnosis, isRunning }: MissingLegProps): ReactNode {
  const { mutate, isPending, error } = useRecover(instance);
  const { leg, finding, detail, places } = diagnosis;
  return (
    <div>
      <div className="flex items-start justify-between gap-3">
        <p className="min-w-0 break-words">
          <span className="font-medium">{leg}: </span>
          {FINDINGS[finding]}
          <span className="block text-soft">{detail}</span>
        </p>
        {places.length > 0 && !instance.rebuilt && (
          <Button
            aria-label={`Bring back ${leg}`}
            disabled={isPending || isRunning}
            onClick={() => {
              mutate(leg);
            }}
          >
            {isRunning ? "Searching…" : "Bring back"}
          </Button>
        )}
      </div>
      {error && <Refusal error={error} scope="replay" />}
    </div>
  );
}

function RecoveryLine({ recovery }: { recovery: Recovery }): ReactNode {
  const { actor, leg, state, detail, requested_at } = recovery;
  return (
    <li className="border-t border-line py-2 break-words first:border-t-0">
      <span className="font-medium">{actor}</span>{" "}
      <span className="text-soft">
        {leg}: {STATES[state]}
      </span>
      {detail && <span className="block text-soft">{detail}</span>}
      <span className="block text-xs text-faint">
        <Moment at={requested_at} />
      </span>
    </li>
  );
}
