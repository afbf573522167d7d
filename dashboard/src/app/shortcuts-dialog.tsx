import type { ReactNode } from "react";

import { useView } from "@/state/view";
import { CloseButton } from "@/ui/close-button";
import { Dialog } from "@/ui/dialog";

import { SHORTCUTS } from "./shortcuts";

export default function ShortcutsDialog(): ReactNode {
  const { showHelp } = useView();
  const close = (): void => {
    showHelp(false);
  };
  return (
    <Dialog label="Keyboard shortcuts" onClose={close} className="m-auto w-80 max-w-[92vw] rounded-xl border shadow-2xl">
      <div className="flex items-center justify-between px-5 pt-4">
        <h2 className="text-sm font-semibold">Keyboard shortcuts</h2>
        <CloseButton onClose={close} />
      </div>
      <dl className="px-5 pt-2 pb-5 text-[13px]">
        {SHORTCUTS.map(([keys, does]) => (
          <div key={does} className="flex items-center justify-between gap-4 py-1.5">
            <dt className="text-soft">{does}</dt>
            <dd className="flex gap-1">
              {keys.map((key) => (
                <kbd
                  key={key}
                  className="rounded border border-line bg-raised px-1.5 font-sans text-xs leading-5.5 font-medium"
                >
                  {key}
                </kbd>
              ))}
            </dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
