import { useEffect, useRef, useState, type ReactNode } from "react";

import { cx } from "./class-names";

interface DialogProps {
  label: string;
  onClose: () => void;
  className?: string;
  children: ReactNode;
}

/**
 * A modal dialog, shown as long as it is rendered. The browser's own: it keeps the focus inside, asks to be closed on
 * Escape, and gives the focus back.
 */
export function Dialog({ label, onClose, className, children }: DialogProps): ReactNode {
  const ref = useRef<HTMLDialogElement>(null);
  const [closings, setClosings] = useState(0);

  useEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement;
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);

  // A browser closes it without asking when Escape comes twice with nothing in between: whoever still renders it then
  // has it opened again.
  useEffect(() => {
    if (!ref.current?.open) ref.current?.showModal();
  }, [closings]);

  return (
    // The backdrop is the dialog's own box; the keyboard closes it by Escape.
    // eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions, jsx-a11y/click-events-have-key-events
    <dialog
      ref={ref}
      aria-label={label}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClose={(event) => {
        if (event.currentTarget.open) return;
        onClose();
        setClosings((times) => times + 1);
      }}
      onClick={(event) => {
        if (event.target === event.currentTarget) onClose();
      }}
      className={cx("border-line bg-panel text-ink", className)}
    >
      {children}
    </dialog>
  );
}
