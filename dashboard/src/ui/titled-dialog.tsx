import type { ReactNode } from "react";

import { CloseButton } from "./close-button";
import { Dialog } from "./dialog";

interface TitledDialogProps {
  title: string;
  /** A line below the title. */
  about?: string;
  onClose: () => void;
  children: ReactNode;
}

/** A dialog in the middle of the page, with its title and a button that closes it. */
export function TitledDialog({ title, about, onClose, children }: TitledDialogProps): ReactNode {
  return (
    <Dialog label={title} onClose={onClose} className="m-auto w-[34rem] max-w-[94vw] rounded-xl border shadow-2xl">
      <div className="flex items-start justify-between gap-3 px-5 pt-4">
        <div className="min-w-0">
          <h2 className="text-sm font-semibold">{title}</h2>
          {about !== undefined && <p className="mt-1 text-[13px] break-words text-soft">{about}</p>}
        </div>
        <CloseButton onClose={onClose} />
      </div>
      {children}
    </Dialog>
  );
}
