import type { ReactNode } from "react";

import { ConnectionBadge } from "@/features/connection/connection-badge";
import { THEMES, useTheme, type Theme } from "@/state/theme";
import { useView } from "@/state/view";
import { Button } from "@/ui/button";
import { Icon, type IconName } from "@/ui/icons";

const ICONS: Record<Theme, IconName> = { system: "screen", light: "sun", dark: "moon" };

export function Header(): ReactNode {
  const { showHelp } = useView();
  return (
    <header className="sticky top-0 z-10 border-b border-line bg-panel">
      <div className="mx-auto flex h-14 max-w-[90rem] items-center gap-3 px-3 sm:px-6">
        <img src="/logo.svg" alt="" className="size-7" />
        <h1 className="text-[17px] font-semibold tracking-tight">Helios</h1>
        <p className="hidden text-[13px] text-faint md:block">three clouds, one exact view</p>
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

/** Goes round: as the system has it, light, dark. */
function ThemeButton(): ReactNode {
  const { theme, setTheme } = useTheme();
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";
  return (
    <Button
      look="quiet"
      className="w-8 px-0"
      aria-label={`Theme: ${theme}. Change to ${next}`}
      title={`Theme: ${theme}`}
      onClick={() => {
        setTheme(next);
      }}
    >
      <Icon name={ICONS[theme]} />
    </Button>
  );
}
