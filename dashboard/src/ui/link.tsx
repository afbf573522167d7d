import type { ComponentProps, ReactNode } from "react";

import { go, href, useAddress, type Change } from "@/state/address";

interface LinkProps extends Omit<ComponentProps<"a">, "href"> {
  to: Change;
}

/** Leads to another place of this page: a real address, to be opened in a new tab, and no reload when it is not. */
export function Link({ to, children, ...rest }: LinkProps): ReactNode {
  useAddress(); // what stays of the address is part of where it leads
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
