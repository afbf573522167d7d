import { useEffect, useRef, useState, type ReactNode } from "react";

import { cx } from "./class-names";

interface DialogProps {
  label: string;
  onClose: () => void;
  className?: string;
  children: ReactNode;
}

/**
 * A modal dialog, open while it is rendered. It is the browser's own, which keeps the focus inside, fires `cancel` on
 * Escape, and restores the focus.
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

  // A browser closes the dialog without `cancel` when the viewer presses Escape twice. If the parent still renders it,
  // the dialog opens again.
  useEffect(() => {
    if (!ref.current?.open) ref.current?.showModal();
  }, [closings]);

  return (
    // A click on the backdrop targets the dialog itself; on the keyboard, Escape closes it.
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
