import { useEffect, type ReactNode } from "react";

import type { ReplayRequest } from "@/api/replay";
import { span } from "@/lib/format";
import { Moment } from "@/ui/moment";
import { Skeleton } from "@/ui/notice";
import { Refusal } from "@/ui/refusal";

import { usePreview } from "./api";
import { countOf } from "./wording";

interface PreviewProps {
  request: ReplayRequest;
  rate: number;
  onKnown: (matching: number) => void;
}

/** What the job would send, before the viewer starts it. */
export function Preview({ request, rate, onKnown }: PreviewProps): ReactNode {
  const { data, error } = usePreview({ ...request, per_second: 1 });
  const matching = data?.matching;
  useEffect(() => {
    if (matching !== undefined) onKnown(matching);
  }, [matching, onKnown]);
  if (error) return <Refusal error={error} />;
  if (!data) return <Skeleton className="h-16" />;
  return (
    <div role="status" className="rounded-lg bg-raised px-3.5 py-3">
      <p className="font-semibold tabular-nums">
        {data.matching === 0 ? `No ${request.what === "events" ? "events" : "dead letters"} to replay` : countOf(request.what, data.matching)}
        {data.matching > 0 && rate > 0 && (
          <span className="font-normal text-soft">, takes at least {span((data.matching / rate) * 1000)}</span>
        )}
      </p>
      {data.oldest && data.newest && (
        <p className="mt-1 text-xs text-soft">
          received between <Moment at={data.oldest} /> and <Moment at={data.newest} />
        </p>
      )}
      {data.examples.length > 0 && (
        <p className="mt-1 font-mono text-xs break-all text-faint">{data.examples.slice(0, 3).join(", ")}</p>
      )}
    </div>
  );
}
