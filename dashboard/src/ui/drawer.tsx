import type { ReactNode } from "react";

import { CloseButton } from "./close-button";
import { Dialog } from "./dialog";

interface DrawerProps {
  label: string;
  heading: ReactNode;
  onClose: () => void;
  children: ReactNode;
}

/** A modal over the right side of the page, with a fixed heading and scrolling contents. */
export function Drawer({ label, heading, onClose, children }: DrawerProps): ReactNode {
  return (
    <Dialog
      label={label}
      onClose={onClose}
      className="mt-0 mr-0 mb-0 ml-auto h-dvh max-h-dvh w-full max-w-[38rem] border-l shadow-2xl"
    >
      <div className="flex h-full flex-col">
        <header className="flex items-start gap-3 border-b border-line px-5 py-4">
          <div className="min-w-0 flex-1">{heading}</div>
          <CloseButton onClose={onClose} />
        </header>
        {children}
      </div>
    </Dialog>
  );
}
