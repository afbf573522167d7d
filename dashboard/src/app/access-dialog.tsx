import { useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";

import { useLiveClient } from "@/live/provider";
import { useAccess } from "@/api/access";
import { Button } from "@/ui/button";
import { Dialog } from "@/ui/dialog";

/**
 * Asks for a token when the API requires one. The dialog cannot be dismissed: without a token there is no data to show.
 */
export default function AccessDialog({ refusal }: { refusal: string }): ReactNode {
  const { setToken } = useAccess();
  const [typed, setTyped] = useState("");
  const queries = useQueryClient();
  const live = useLiveClient();
  return (
    <Dialog label="Sign in" onClose={() => undefined} className="m-auto w-96 max-w-[92vw] rounded-xl border shadow-2xl">
      <form
        className="flex flex-col gap-3 p-5 text-[13px]"
        onSubmit={(event) => {
          event.preventDefault();
          setToken(typed.trim());
          setTyped("");
          void queries.invalidateQueries();
          live.retryNow();
        }}
      >
        <h2 className="text-sm font-semibold">This Helios requires a token</h2>
        <p role="alert" className="text-soft">
          {refusal}
        </p>
        <label className="flex flex-col gap-1.5 font-medium">
          Token
          <input
            type="password"
            value={typed}
            onChange={(event) => {
              setTyped(event.target.value);
            }}
            required
            autoComplete="off"
            className="h-8 rounded-lg border border-edge bg-panel px-2.5 font-mono"
          />
        </label>
        <p className="text-soft">
          An administrator creates one with{" "}
          <code>helios tokens create --name me --scope read</code>. The browser keeps it until you close this tab.
        </p>
        <Button look="filled" type="submit" className="self-end">
          Continue
        </Button>
      </form>
    </Dialog>
  );
}
