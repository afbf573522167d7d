/** Whether the viewer works with the rows: points at one, has scrolled, or has focused one. Rows then stay in place. */
import { useEffect, useRef, useState, type FocusEvent, type PointerEvent, type UIEvent } from "react";

/** After this time a resting pointer no longer counts. */
const REST_MS = 2000;
const SCROLLED_PX = 8;

interface Browsing {
  browsing: boolean;
  stop: () => void;
  /** For the scrolling element. */
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
        // A click leaves the focus on a row; only keyboard focus counts.
        setFocused(event.target.matches(":focus-visible"));
      },
      onBlur: () => {
        setFocused(false);
      },
      // If a row moves between press and release, the browser sends no click.
      onPointerDown: aim,
      onPointerMove: (event) => {
        // A moving finger scrolls.
        if (event.pointerType === "mouse") aim();
      },
      onPointerLeave: stopAiming,
    },
  };
}
