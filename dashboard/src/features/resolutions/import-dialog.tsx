import { useState, type ReactNode } from "react";

import { count } from "@/lib/format";
import { Button } from "@/ui/button";
import { Code } from "@/ui/code";
import { Refusal } from "@/ui/refusal";
import { TitledDialog } from "@/ui/titled-dialog";

import { ActionLine } from "./action-line";
import { useImport, type ResolutionRequest } from "./api";
import { COLUMNS, requestsOf } from "./import";

/** Takes the steps of a CSV file that the viewer chooses: all of them, or none if one is refused. */
export default function ImportDialog({ onClose }: { onClose: () => void }): ReactNode {
  const [requests, setRequests] = useState<ResolutionRequest[]>([]);
  const [fault, setFault] = useState<string | null>(null);
  const { mutate, data, error, isPending, reset } = useImport();
  const orders = requests.reduce((sum, { instances }) => sum + (instances?.length ?? 0), 0);

  const read = async (file: File | undefined): Promise<void> => {
    reset();
    setFault(null);
    setRequests([]);
    if (!file) return;
    try {
      setRequests(requestsOf(await file.text()));
    } catch (wrong) {
      setFault(wrong instanceof Error ? wrong.message : String(wrong));
    }
  };

  return (
    <TitledDialog title="Import steps" onClose={onClose}>
      <div className="flex flex-col gap-3 px-5 pt-2 pb-5 text-[13px]">
        {data ? (
          <ol role="status" className="max-h-80 overflow-auto">
            {data.map((action) => (
              <ActionLine key={action.id} action={action} />
            ))}
          </ol>
        ) : (
          <>
            <p className="text-soft">
              A CSV file with the columns <Code>{COLUMNS.join(",")}</Code>, of which the last two may be left out. Orders with the
              same step, text and assignee are one action, which one click undoes.
            </p>
            <label className="flex flex-col gap-1.5 font-medium">
              File
              <input
                type="file"
                accept=".csv,text/csv"
                onChange={(event) => void read(event.target.files?.[0])}
                className="font-normal file:mr-3 file:h-8 file:rounded-lg file:border file:border-edge file:bg-panel file:px-3"
              />
            </label>
            {fault !== null && (
              <p role="alert" className="text-bad">
                {fault}
              </p>
            )}
            {error && <Refusal error={error} scope="resolve" />}
            <Button
              look="filled"
              className="self-start"
              disabled={orders === 0 || isPending}
              onClick={() => {
                mutate(requests);
              }}
            >
              {orders === 0 ? "Take the steps" : `Take the steps for ${count(orders)} orders`}
            </Button>
          </>
        )}
      </div>
    </TitledDialog>
  );
}
