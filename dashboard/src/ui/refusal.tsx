import type { ReactNode } from "react";

import { useAccess } from "@/api/access";
import { isForbidden } from "@/api/replays";

import { Button } from "./button";
import { Code } from "./code";

/** Why something could not be done, and where another token would do, which one. */
export function Refusal({ error }: { error: Error }): ReactNode {
  const { refuse } = useAccess();
  return (
    <div role="alert" className="rounded-lg bg-bad-soft px-3 py-2.5 text-[13px] text-ink">
      <p className="break-words">
        <strong className="font-semibold text-bad">That was refused.</strong> {error.message}
      </p>
      {isForbidden(error) && (
        <>
          <p className="mt-1.5 text-soft">
            Replaying takes a token with the scope <b>replay</b>; whoever runs this Helios makes one:{" "}
            <Code>helios tokens create --name me --scope replay</Code>
          </p>
          <Button
            className="mt-2"
            onClick={() => {
              refuse("Give one with the scope replay.");
            }}
          >
            Use another token
          </Button>
        </>
      )}
    </div>
  );
}
