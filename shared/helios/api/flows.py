"""Whether the clouds agree: stories, their issues, and all of them summed up."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol

import msgspec
from fastapi import APIRouter, Path, Query, Response

from helios.api.parameters import After, Limit, Moment, Text
from helios.api.replies import documented, problem, reply
from helios.model.events import MAX_ID_CHARS
from helios.model.flows import (
    ISSUE_KINDS,
    FlowFilter,
    FlowInstance,
    FlowInstanceDetails,
    FlowStatus,
    IssueKind,
    KeyedIssue,
)
from helios.model.paging import Page
from helios.ports.counts import MinuteReader
from helios.ports.events import EventReader
from helios.ports.flows import FlowReader
from helios.ports.stream import Outbox
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.record import FlowRecord, to_instance
from helios.reconciliation.silence import LOOKBACK, silent
from helios.reconciliation.summary import summarise, trend_bucket
from helios.reconciliation.timeline import timeline

LONGEST_PERIOD = timedelta(days=31)

FlowName = Annotated[Text | None, Query(description="The flow's name", max_length=40)]


class EventAndMinuteReader(EventReader, MinuteReader, Protocol):
    """Reads the events of an instance, and the minutes that show which source is silent."""


def router(
    reader: FlowReader, events: EventAndMinuteReader, outbox: Outbox, evaluators: Mapping[str, FlowEvaluator]
) -> APIRouter:
    """Pages over the stories of the flows that are declared."""
    routes = APIRouter(prefix="/api/v1/flows", tags=["flows"])

    def named(flow: str | None) -> tuple[str, ...]:
        return (flow,) if flow is not None else tuple(evaluators)

    def rows(kept: list[FlowRecord]) -> list[FlowInstance]:
        return [to_instance(evaluators[one.flow], one) for one in kept if one.flow in evaluators]

    @routes.get("", responses=documented(200, "FlowPage", 400, 401, 403, 422, 429, 503))
    def flows(
        flow: FlowName = None,
        status: Annotated[list[FlowStatus] | None, Query(description="Any of these verdicts")] = None,
        issue: Annotated[list[IssueKind] | None, Query(description="With any of these issues")] = None,
        key: Annotated[Text | None, Query(description="The beginning of the key", max_length=MAX_ID_CHARS)] = None,
        since: Annotated[Moment | None, Query(description="opened_at at or after this")] = None,
        until: Annotated[Moment | None, Query(description="opened_at before this")] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List stories, the last opened first."""
        where = FlowFilter(
            flow=named(flow), status=tuple(status or ()), issue=tuple(issue or ()), key=key, since=since, until=until
        )
        page = reader.flows(where, after=after, limit=limit)
        return reply(Page(items=rows(page.items), next_cursor=page.next_cursor))

    @routes.get("/declarations", responses=documented(200, "Declarations", 401, 403, 429, 503))
    def declarations() -> Response:
        """List the flows that are declared."""
        return reply([evaluator.flow for evaluator in evaluators.values()])

    @routes.get("/summary", responses=documented(200, "FlowSummary", 401, 403, 422, 429, 503))
    def summary(
        flow: FlowName = None,
        since: Annotated[Moment | None, Query(description="Stories that began then or later; a day ago")] = None,
        until: Annotated[Moment | None, Query(description="Stories that began before; now")] = None,
    ) -> Response:
        """Sum up the stories that began within a period of at most 31 days, as the live stream tells them."""
        outbox.number()
        now = datetime.now(UTC)  # after it, for it may have to wait for its turn
        end = until or now
        begin = max(since or end - timedelta(days=1), end - LONGEST_PERIOD).replace(second=0, microsecond=0)
        if begin >= end:
            return problem(422, "The period is empty: since must be before until")
        return reply(
            summarise(
                reader.flow_sums(flow, since=begin, until=end, bucket=trend_bucket(begin, end)),
                since=begin,
                until=end,
                oldest_open=reader.oldest_open(named(flow)),
                silent=silent(events.minutes(now - LOOKBACK), now),
                now=now,
            )
        )

    @routes.get("/issues", responses=documented(200, "FlowIssuePage", 400, 401, 403, 422, 429, 503))
    def issues(
        kind: Annotated[list[IssueKind] | None, Query(description="Of any of these kinds")] = None,
        flow: FlowName = None,
        since: Annotated[Moment | None, Query(description="Of stories that began then or later")] = None,
        after: After = None,
        limit: Annotated[int, Query(ge=1, le=500, description="Most stories on this page")] = 50,
    ) -> Response:
        """List what is wrong, of the last opened stories first."""
        wanted = tuple(kind or ISSUE_KINDS)
        page = reader.flows(FlowFilter(flow=named(flow), issue=wanted, since=since), after=after, limit=limit)
        found = [
            KeyedIssue(
                flow=row.flow, key=row.key, status=row.status, opened_at=row.opened_at, **msgspec.structs.asdict(one)
            )
            for row in rows(page.items)
            for one in row.issues
            if one.kind in wanted
        ]
        return reply(Page(items=found, next_cursor=page.next_cursor))

    @routes.get("/{flow}/{key:path}", responses=documented(200, "FlowInstanceDetails", 401, 403, 404, 422, 429, 503))
    def instance(
        flow: Annotated[Text, Path(max_length=40)],
        key: Annotated[Text, Path(max_length=MAX_ID_CHARS)],
    ) -> Response:
        """Show one story: what each cloud told, and what follows from it."""
        kept = reader.flow((flow, key)) if flow in evaluators else None
        if kept is None:
            return problem(404, f"No story of the flow {flow!r} has the key {key!r}")
        row = to_instance(evaluators[flow], kept)
        keys = dict.fromkeys((item.source, item.id) for item in kept.evidence_set.items)
        stored = [event for identity in keys if (event := events.event(identity))]
        return reply(
            FlowInstanceDetails(
                **msgspec.structs.asdict(row),
                events=sorted(stored, key=lambda event: event.received_at),
                timeline=timeline(evaluators[flow], kept),
            )
        )

    return routes
