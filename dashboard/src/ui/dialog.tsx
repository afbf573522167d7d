import { useEffect, useRef, type ReactNode } from "react";

import { cx } from "./class-names";

interface DialogProps {
  label: string;
  onClose: () => void;
  className?: string;
  children: ReactNode;
}

/**
 * A modal dialog, shown as long as it is rendered. The browser's own: it keeps the focus inside, closes on Escape, and
 * gives the focus back.
 */
export function Dialog({ label, onClose, className, children }: DialogProps): ReactNode {
  const ref = useRef<HTMLDialogElement>(null);

  useEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement;
    dialog?.showModal();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);

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
      onClick={(event) => {
        if (event.target === event.currentTarget) onClose();
      }}
      className={cx("border-line bg-panel text-ink", className)}
    >
      {children}
    </dialog>
  );
}
