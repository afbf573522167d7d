import type { ReactNode } from "react";

import { ConnectionBadge } from "@/features/connection/connection-badge";
import { plural } from "@/lib/format";
import { sources, type SourceInfo } from "@/lib/sources";
import { toView, useAddress, VIEWS, type View } from "@/state/address";
import { THEMES, useTheme, type Theme } from "@/state/theme";
import { useView } from "@/state/view";
import { Button } from "@/ui/button";
import { Icon, type IconName } from "@/ui/icons";
import { Link } from "@/ui/link";

const ICONS: Record<Theme, IconName> = { system: "screen", light: "sun", dark: "moon" };

export function Header(): ReactNode {
  const { showHelp } = useView();
  return (
    <header className="sticky top-0 z-10 border-b border-line bg-panel">
      <div className="mx-auto flex min-h-14 max-w-[90rem] flex-wrap items-center gap-x-3 gap-y-1 px-3 max-sm:pt-2 sm:px-6">
        <img src="/logo.svg" alt="" className="size-7" />
        <h1 className="text-[17px] font-semibold tracking-tight">Helios</h1>
        <p className="hidden text-[13px] text-faint lg:block">{subjects(sources())}, one exact view</p>
        <Navigation />
        <div className="ml-auto flex items-center gap-1 sm:gap-2">
          <ConnectionBadge />
          <ThemeButton />
          <Button
            look="quiet"
            className="w-8 px-0 max-sm:hidden"
            aria-label="Keyboard shortcuts"
            aria-keyshortcuts="?"
            onClick={() => {
              showHelp(true);
            }}
          >
            <Icon name="keyboard" />
          </Button>
        </div>
      </div>
    </header>
  );
}

function subjects(infos: readonly SourceInfo[]): string {
  return infos.every((info) => info.built_in) ? "three clouds" : `three clouds, ${plural(infos.length - 3, "more source")}`;
}

const VIEW_NAMES: Record<View, string> = {
  events: "Events",
  reconciliation: "Reconciliation",
  "dead-letters": "Dead letters",
  rules: "Rules",
};

/** On a narrow screen, the navigation has its own line. */
function Navigation(): ReactNode {
  const { view: shown } = useAddress();
  return (
    <nav aria-label="Views" className="flex gap-1 max-sm:order-last max-sm:basis-full max-sm:pb-2 sm:ml-2">
      {VIEWS.map((view) => (
        <Link
          key={view}
          to={toView(view)}
          aria-current={view === shown ? "page" : undefined}
          className="inline-flex h-8 items-center rounded-lg px-3 text-[13px] font-medium whitespace-nowrap text-soft hover:bg-raised hover:text-ink max-sm:px-2 aria-[current]:bg-raised aria-[current]:text-ink"
        >
          {VIEW_NAMES[view]}
        </Link>
      ))}
    </nav>
  );
}

/** Switches from the system's theme to light, to dark, and back. */
function ThemeButton(): ReactNode {
  const { theme, setTheme } = useTheme();
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";
  return (
    <Button
      look="quiet"
      className="w-8 px-0"
      aria-label={`Theme: ${theme}. Switch to ${next}`}
      title={`Theme: ${theme}`}
      onClick={() => {
        setTheme(next);
      }}
    >
      <Icon name={ICONS[theme]} />
    </Button>
  );
}
