import type { ReactNode } from "react";

import { useAccess } from "@/api/access";
import { isForbidden } from "@/api/replay";

import { Button } from "./button";
import { Code } from "./code";

interface RefusalProps {
  error: Error;
  /** The scope that the request requires. */
  scope?: "replay" | "resolve" | "rules";
}

/** Why the API refused a request, and which token it requires. */
export function Refusal({ error, scope = "replay" }: RefusalProps): ReactNode {
  const { requestToken } = useAccess();
  return (
    <div role="alert" className="rounded-lg bg-bad-soft px-3 py-2.5 text-[13px] text-ink">
      <p className="break-words">
        <strong className="font-semibold text-bad">Request failed.</strong> {error.message}
      </p>
      {isForbidden(error) && (
        <>
          <p className="mt-1.5 text-soft">
            This requires a token with the scope <b>{scope}</b>. An administrator creates one with{" "}
            <Code>{`helios tokens create --name me --scope ${scope}`}</Code>
          </p>
          <Button
            className="mt-2"
            onClick={() => {
              requestToken(`Enter a token with the scope ${scope}.`);
            }}
          >
            Use another token
          </Button>
        </>
      )}
    </div>
  );
}
