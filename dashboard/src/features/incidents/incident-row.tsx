import { useState, type ReactNode } from "react";

import { amount, plural } from "@/lib/format";
import { serverNow } from "@/lib/server-clock";
import { Ago } from "@/ui/age";
import { Button } from "@/ui/button";
import { cx } from "@/ui/class-names";
import { Refusal } from "@/ui/refusal";

import { useIncidentAction, type Incident } from "./api";
import { AssignForm } from "./assign-form";
import { IncidentInstances } from "./incident-instances";

const SNOOZE_MS = 3_600_000;

const SEVERITIES: Record<Incident["severity"], string> = {
  critical: "bg-bad-soft text-bad",
  error: "bg-bad-soft text-bad",
  warning: "bg-warn-soft text-warn",
  info: "bg-raised text-soft",
};

interface IncidentRowProps {
  incident: Incident;
  /** Whether its orders are shown. */
  isOpened: boolean;
  onToggle: () => void;
}

/** One incident: what it is about, what it counts, and what a viewer can do. */
export function IncidentRow({ incident, isOpened, onToggle }: IncidentRowProps): ReactNode {
  const { id, severity, title, opened_at, acknowledged_by, assignee } = incident;
  const [assigning, setAssigning] = useState(false);
  const countsInstances = incident.cause.kind === "flow" || incident.cause.kind === "silence";
  return (
    <li className="border-t border-line px-4 py-2.5 text-[13px] first:border-t-0 sm:px-5">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1.5">
        <span
          className={cx("inline-flex h-5.5 items-center rounded-md px-1.5 text-xs font-semibold", SEVERITIES[severity])}
        >
          {severity}
        </span>
        <strong className="min-w-0 font-semibold break-words">{title}</strong>
        <span className="text-soft tabular-nums">{counted(incident)}</span>
        <span className="text-xs text-faint">
          opened <Ago at={Date.parse(opened_at)} />
          {acknowledged_by && `, acknowledged by ${acknowledged_by}`}
          {assignee && `, assigned to ${assignee}`}
        </span>
        <span className="ml-auto flex flex-wrap gap-2">
          {countsInstances && incident.number > 0 && (
            <Button look="quiet" aria-expanded={isOpened} onClick={onToggle}>
              {isOpened ? "Hide orders" : "Show orders"}
            </Button>
          )}
          <Actions incident={incident} />
          <Button
            aria-expanded={assigning}
            onClick={() => {
              setAssigning(!assigning);
            }}
          >
            Assign
          </Button>
        </span>
      </div>
      {assigning && (
        <AssignForm
          incident={incident}
          onDone={() => {
            setAssigning(false);
          }}
        />
      )}
      {isOpened && <IncidentInstances id={id} />}
    </li>
  );
}

function Actions({ incident }: { incident: Incident }): ReactNode {
  const { mutate, isPending, error } = useIncidentAction(incident.id);
  const snoozed = incident.snoozed_until !== null && Date.parse(incident.snoozed_until) > serverNow();
  const acknowledged = incident.acknowledged_by !== null;
  return (
    <>
      <Button
        disabled={isPending}
        onClick={() => {
          mutate({ name: "acknowledge", body: { acknowledged: !acknowledged } });
        }}
      >
        {acknowledged ? "Withdraw acknowledgement" : "Acknowledge"}
      </Button>
      <Button
        disabled={isPending}
        onClick={() => {
          const until = snoozed ? null : new Date(serverNow() + SNOOZE_MS).toISOString();
          mutate({ name: "snooze", body: { until } });
        }}
      >
        {snoozed ? "End snooze" : "Snooze for an hour"}
      </Button>
      {error && <Refusal error={error} scope="resolve" />}
    </>
  );
}

/** What an incident counts: `10,000 orders, 1,234.50 EUR`. */
function counted({ cause, number, amounts }: Incident): string {
  if (cause.kind === "consumer") return "";
  if (cause.kind === "drift") return `${plural(number, "event")} missing`;
  if (cause.kind === "dead_letters") return plural(number, "delivery", "deliveries");
  const money = amounts.map(({ currency, amount: value }) => `${amount(value)} ${currency ?? "without a currency"}`);
  return [`${plural(number, "order")}${cause.kind === "silence" ? " waiting" : ""}`, ...money].join(", ");
}
