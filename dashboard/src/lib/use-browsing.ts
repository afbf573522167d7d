/** Whether the viewer is busy with the rows, so that they must not run away: aims at one, has scrolled, or is on one. */
import { useEffect, useRef, useState, type FocusEvent, type PointerEvent, type UIEvent } from "react";

/** A pointer that rests has stopped aiming. */
const REST_MS = 2000;
const SCROLLED_PX = 8;

interface Browsing {
  browsing: boolean;
  stop: () => void;
  /** For the element that scrolls. */
  handlers: {
    onScroll: (event: UIEvent) => void;
    onFocus: (event: FocusEvent) => void;
    onBlur: () => void;
    onPointerDown: () => void;
    onPointerMove: (event: PointerEvent) => void;
    onPointerLeave: () => void;
  };
}

export function useBrowsing(): Browsing {
  const [scrolled, setScrolled] = useState(false);
  const [focused, setFocused] = useState(false);
  const [aiming, setAiming] = useState(false);
  const rest = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => { clearTimeout(rest.current); }, []);

  const aim = (): void => {
    clearTimeout(rest.current);
    rest.current = setTimeout(stopAiming, REST_MS);
    setAiming(true);
  };
  const stopAiming = (): void => {
    clearTimeout(rest.current);
    setAiming(false);
  };

  return {
    browsing: scrolled || focused || aiming,
    stop: () => {
      setScrolled(false);
      setFocused(false);
      stopAiming();
    },
    handlers: {
      onScroll: (event) => {
        setScrolled(event.currentTarget.scrollTop > SCROLLED_PX);
      },
      onFocus: (event) => {
        // The focus that a click leaves behind is nobody's place in the list.
        setFocused(event.target.matches(":focus-visible"));
      },
      onBlur: () => {
        setFocused(false);
      },
      // A row that moves away between press and release is never clicked.
      onPointerDown: aim,
      onPointerMove: (event) => {
        // A finger that moves scrolls.
        if (event.pointerType === "mouse") aim();
      },
      onPointerLeave: stopAiming,
    },
  };
}
