import { lazy, Suspense, type ReactNode } from "react";

import { useAccess } from "@/api/access";
import { keyText } from "@/lib/event-key";
import { useAddress } from "@/state/address";
import { useView } from "@/state/view";

const AccessDialog = lazy(() => import("./access-dialog"));
const EventDrawer = lazy(() => import("@/features/event-details/event-drawer"));
const ReplayDialog = lazy(() => import("@/features/replay/replay-dialog"));
const ShortcutsDialog = lazy(() => import("./shortcuts-dialog"));

/** The drawers and dialogs. Each loads when it first opens. */
export function Overlays(): ReactNode {
  const { event } = useAddress();
  const { replay, helpShown } = useView();
  const { refusal } = useAccess();
  return (
    <Suspense>
      {event && <EventDrawer key={keyText(event)} eventKey={event} />}
      {replay && <ReplayDialog draft={replay} />}
      {helpShown && <ShortcutsDialog />}
      {refusal !== null && <AccessDialog refusal={refusal} />}
    </Suspense>
  );
}
