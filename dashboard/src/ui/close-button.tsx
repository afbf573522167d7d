import type { ReactNode } from "react";

import { Button } from "./button";
import { Icon } from "./icons";

/** The cross in the corner of a dialog. */
export function CloseButton({ onClose }: { onClose: () => void }): ReactNode {
  return (
    <Button look="quiet" className="w-8 px-0" onClick={onClose} aria-label="Close">
      <Icon name="close" />
    </Button>
  );
}
