import type { ComponentProps, ReactNode } from "react";

import { cx } from "./class-names";

interface ButtonProps extends ComponentProps<"button"> {
  look?: "outlined" | "filled" | "quiet";
}

const LOOKS = {
  outlined: "border border-edge bg-panel hover:bg-raised",
  filled: "border border-accent bg-accent text-panel hover:opacity-90",
  quiet: "border border-transparent text-soft hover:bg-raised hover:text-ink",
};

export function Button({ look = "outlined", className, ...rest }: ButtonProps): ReactNode {
  return (
    <button
      type="button"
      className={cx(
        "inline-flex h-8 items-center justify-center gap-1.5 rounded-lg px-3 text-[13px] font-medium whitespace-nowrap",
        "transition-colors disabled:opacity-50",
        LOOKS[look],
        className,
      )}
      {...rest}
    />
  );
}
