import type { ReactNode } from "react";

import { Filters } from "@/features/dead-letters/filters";
import { Groups } from "@/features/dead-letters/groups";
import { DeadLetterDrawer } from "@/features/dead-letters/dead-letter-drawer";
import { DeadLetterList } from "@/features/dead-letters/dead-letter-list";
import { Jobs } from "@/features/replay/jobs";
import { boundsOf } from "@/lib/flows";
import { serverNow } from "@/lib/server-clock";
import { setDeadLetterFilter, useAddress } from "@/state/address";
import { useView } from "@/state/view";
import { Button } from "@/ui/button";
import { Icon } from "@/ui/icons";
import { Panel } from "@/ui/panel";
import { PeriodPicker } from "@/ui/period-picker";

/** The dead letters, their reasons, and the controls to replay them. */
export default function DeadLettersView(): ReactNode {
  const { deadLetters } = useAddress();
  return (
    <>
      <div className="flex flex-wrap items-center justify-between gap-x-4 gap-y-2 px-1">
        <h2 className="text-base font-semibold tracking-tight">Dead letters</h2>
        <div className="flex flex-wrap gap-2">
          <PeriodPicker label="Period" chosen={deadLetters} onChange={setDeadLetterFilter} />
        </div>
      </div>
      <div className="grid grid-cols-1 gap-3 sm:gap-4 xl:grid-cols-3">
        {/* On a narrow screen the reasons come first and the replay jobs last. */}
        <div className="contents min-w-0 flex-col gap-4 xl:order-last xl:flex">
          <Groups />
          <div className="min-w-0 max-xl:order-last">
            <Jobs />
          </div>
        </div>
        <div className="min-w-0 xl:col-span-2">
          <Panel title="Deliveries" aside={<ReplayThese />}>
            <Filters />
            <DeadLetterList />
          </Panel>
        </div>
      </div>
      <DeadLetterDrawer />
    </>
  );
}

/** Replays the filtered dead letters, except contradictory ones: they would contradict the stored event again. */
function ReplayThese(): ReactNode {
  const { cloud, field, reason, status, replayed, ...time } = useAddress().deadLetters;
  const { openReplay } = useView();
  if (status === "contradictory" || replayed === "yes") return null;
  return (
    <Button
      onClick={() => {
        openReplay({ what: "dead_letters", filter: { source: cloud, field, reason, ...boundsOf(time, serverNow()) } });
      }}
    >
      <Icon name="replay" className="size-3.5" />
      Replay these dead letters
    </Button>
  );
}
