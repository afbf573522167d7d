import type { ComponentProps, ReactNode } from "react";

import { go, href, useAddress, type Change } from "@/state/address";

interface LinkProps extends Omit<ComponentProps<"a">, "href"> {
  to: Change;
}

/** A link within the dashboard: a real URL that can open in a new tab, without a reload on a plain click. */
export function Link({ to, children, ...rest }: LinkProps): ReactNode {
  useAddress(); // the link keeps the other parameters of the address
  return (
    <a
      href={href(to)}
      onClick={(event) => {
        if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        go(to);
      }}
      {...rest}
    >
      {children}
    </a>
  );
}
