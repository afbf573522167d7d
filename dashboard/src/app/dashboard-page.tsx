import { lazy, Suspense, type ReactNode } from "react";

import { Announcer } from "@/features/connection/announcer";
import { EventDrawer } from "@/features/event-details/event-drawer";
import { ROWS_ID } from "@/lib/row-focus";
import { useAddress } from "@/state/address";
import { Skeleton } from "@/ui/notice";

import { AccessDialog } from "./access-dialog";
import { EventsView } from "./events-view";
import { Header } from "./header";
import { OutageBanner } from "./outage-banner";
import { useShortcuts } from "./shortcuts";
import { ShortcutsDialog } from "./shortcuts-dialog";

const Overview = lazy(() => import("@/features/reconciliation/overview"));
const StoryPage = lazy(() => import("@/features/story/story-page"));

export function DashboardPage(): ReactNode {
  useShortcuts();
  const { view, story } = useAddress();
  return (
    <>
      {!story && (
        <a
          href={`#${ROWS_ID}`}
          className="sr-only focus:not-sr-only focus:fixed focus:top-2 focus:left-2 focus:z-20 focus:rounded-lg focus:bg-panel focus:px-3 focus:py-2"
        >
          {view === "events" ? "To the live events" : "To the orders"}
        </a>
      )}
      <Header />
      <main className="mx-auto flex max-w-[90rem] flex-col gap-3 px-3 py-4 sm:gap-4 sm:px-6 sm:py-5">
        <OutageBanner />
        {view === "events" ? (
          <EventsView />
        ) : (
          <Suspense fallback={<Skeleton className="h-96" />}>
            {story ? <StoryPage key={`${story.flow}/${story.key}`} flowKey={story} /> : <Overview />}
          </Suspense>
        )}
      </main>
      <EventDrawer />
      <ShortcutsDialog />
      <AccessDialog />
      <Announcer />
    </>
  );
}
