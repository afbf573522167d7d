import { lazy, Suspense, useState, type KeyboardEvent, type ReactNode } from "react";

import { useDeclarations } from "@/api/flows";
import { moveFocus, ROWS_ID } from "@/lib/row-focus";
import { useBrowsing } from "@/lib/use-browsing";
import { setFlowFilter, useAddress } from "@/state/address";
import { Button } from "@/ui/button";
import { cx } from "@/ui/class-names";
import { Icon } from "@/ui/icons";
import { Notice, Skeleton } from "@/ui/notice";
import { Panel } from "@/ui/panel";

import type { Summary } from "./api";
import { ExportOrders } from "./export-orders";
import { Filters } from "./filters";
import { useFlowInstances } from "./flow-instances";
import { COLUMNS, FlowInstanceRow } from "./flow-instance-row";

const ResolveDialog = lazy(() => import("@/features/resolutions/resolve-dialog"));
const ImportDialog = lazy(() => import("@/features/resolutions/import-dialog"));

/** The orders that match the filter, newest first. Rows stay in place while the viewer works with them. */
export function FlowInstanceTable({ summary }: { summary: Summary | null }): ReactNode {
  const { flows: filter } = useAddress();
  const [resolving, setResolving] = useState(false);
  const [importing, setImporting] = useState(false);
  const { browsing, stop, handlers } = useBrowsing();
  const { query, changed } = useFlowInstances(filter, browsing);
  const several = (useDeclarations().data?.length ?? 1) > 1;
  const { data, hasNextPage, isFetchingNextPage } = query;

  const onKeyDown = (event: KeyboardEvent): void => {
    if (moveFocus(event.key)) event.preventDefault();
  };
  const showChanges = (): void => {
    stop();
    void query.refetch();
  };

  return (
    <Panel
      title="Orders"
      aside={
        <span className="flex flex-wrap justify-end gap-2">
          {changed && (
            <Button look="filled" onClick={showChanges}>
              <Icon name="up" className="size-3.5" />
              Show changes
            </Button>
          )}
          <Button
            onClick={() => {
              setImporting(true);
            }}
          >
            Import CSV
          </Button>
          {data && data.rows.length > 0 && (
            <>
              <ExportOrders filter={filter} />
              <Button
                onClick={() => {
                  setResolving(true);
                }}
              >
                Resolve
              </Button>
            </>
          )}
        </span>
      }
    >
      {resolving && (
        <Suspense>
          <ResolveDialog
            filter={filter}
            onClose={() => {
              setResolving(false);
            }}
          />
        </Suspense>
      )}
      {importing && (
        <Suspense>
          <ImportDialog
            onClose={() => {
              setImporting(false);
            }}
          />
        </Suspense>
      )}
      <Filters summary={summary} />
      <Headings />
      {/* The rows are the controls; their container only moves the focus between them. */}
      {/* eslint-disable-next-line jsx-a11y/no-static-element-interactions */}
      <div id={ROWS_ID} onKeyDown={onKeyDown} {...handlers} aria-busy={query.isPlaceholderData}>
        {data && data.rows.length > 0 ? (
          <ol className={cx(query.isPlaceholderData && "opacity-60")}>
            {data.rows.map((row) => (
              <FlowInstanceRow key={`${row.flow}/${row.key}`} row={row} named={several && filter.flow === null} />
            ))}
          </ol>
        ) : (
          <NoRows error={data ? null : query.error} pending={query.isPending} onRetry={() => void query.refetch()} />
        )}
      </div>
      {data && query.error && <Failure message={query.error.message} onRetry={() => void query.refetch()} />}
      {hasNextPage && (
        <div className="border-t border-line p-3 text-center">
          <Button disabled={isFetchingNextPage || query.isPlaceholderData} onClick={() => void query.fetchNextPage()}>
            {isFetchingNextPage ? "Loading" : "Show more"}
          </Button>
        </div>
      )}
    </Panel>
  );
}

function Headings(): ReactNode {
  return (
    <div
      aria-hidden
      className={cx("hidden border-y border-line px-5 py-1.5 text-[11px] font-medium text-faint lg:grid", COLUMNS)}
    >
      <span>Order</span>
      <span>Status</span>
      <span>Details</span>
      <span>Legs</span>
      <span className="text-right">Amount</span>
      <span className="text-right">Age</span>
    </div>
  );
}

function Failure({ message, onRetry }: { message: string; onRetry: () => void }): ReactNode {
  return (
    <p role="alert" className="flex items-center justify-center gap-3 border-t border-line p-3 text-[13px] text-bad">
      {message}
      <Button onClick={onRetry}>Try again</Button>
    </p>
  );
}

interface NoRowsProps {
  error: Error | null;
  pending: boolean;
  onRetry: () => void;
}

function NoRows({ error, pending, onRetry }: NoRowsProps): ReactNode {
  const { show, issue, resolution, assignee, key } = useAddress().flows;
  if (pending) return <Skeleton className="mx-5 my-3 h-dvh" />;
  if (error) {
    return (
      <Notice tone="bad" title="Could not load the orders" onRetry={onRetry}>
        {error.message}
      </Notice>
    );
  }
  if (show === "problems" && issue === null && resolution === null && assignee === null && key === "") {
    return (
      <Notice title="No problems">
        For every settled order, all sources sent the same values in time.
      </Notice>
    );
  }
  return (
    <Notice title="No matches">
      <p>The search covers only orders of the selected period.</p>
      <Button
        className="mt-3"
        onClick={() => {
          setFlowFilter({ show: "all", issue: null, resolution: null, assignee: null, key: "" });
        }}
      >
        Show all orders
      </Button>
    </Notice>
  );
}
