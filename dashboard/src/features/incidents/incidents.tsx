import { useState, type ReactNode } from "react";

import { plural } from "@/lib/format";
import { cx } from "@/ui/class-names";
import { Notice, Skeleton } from "@/ui/notice";
import { Panel } from "@/ui/panel";

import { useOpenIncidents } from "./api";
import { IncidentRow } from "./incident-row";

/** The open incidents. The panel has one height until a viewer opens an incident, so that nothing below it moves. */
export default function Incidents(): ReactNode {
  const { data, error, refetch } = useOpenIncidents();
  const [opened, setOpened] = useState<number | null>(null);
  return (
    <Panel
      title="Incidents"
      aside={<span className="text-xs text-faint">{data && plural(data.length, "open incident")}</span>}
    >
      <div className={cx("overflow-y-auto", opened === null ? "h-48 sm:h-40" : "max-h-[40rem]")}>
        {error && !data ? (
          <Notice tone="bad" title="Could not load the incidents" onRetry={() => void refetch()}>
            {error.message}
          </Notice>
        ) : data?.length === 0 ? (
          <Notice title="No open incidents">One cause that breaks orders is one incident, however many orders it breaks.</Notice>
        ) : data ? (
          <ul>
            {data.map((incident) => (
              <IncidentRow
                key={incident.id}
                incident={incident}
                isOpened={opened === incident.id}
                onToggle={() => {
                  setOpened(opened === incident.id ? null : incident.id);
                }}
              />
            ))}
          </ul>
        ) : (
          <Skeleton className="mx-5 h-24" />
        )}
      </div>
    </Panel>
  );
}
