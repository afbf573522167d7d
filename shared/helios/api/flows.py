"""Flow instances, their issues, and a summary."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol

import msgspec
from fastapi import APIRouter, Path, Query, Response

from helios.api.parameters import After, Limit, Moment, Text
from helios.api.replies import problem, reply, responses
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

MAX_PERIOD = timedelta(days=31)

FlowName = Annotated[Text | None, Query(description="Only this flow", max_length=40)]


class EventAndMinuteReader(EventReader, MinuteReader, Protocol):
    """Reads the events of a flow instance, and the counts by minute that show which source is silent."""


def router(
    reader: FlowReader, events: EventAndMinuteReader, outbox: Outbox, evaluators: Mapping[str, FlowEvaluator]
) -> APIRouter:
    """The routes that read the declared flows and their instances."""
    routes = APIRouter(prefix="/api/v1/flows", tags=["flows"])

    def names(flow: str | None) -> tuple[str, ...]:
        return (flow,) if flow is not None else tuple(evaluators)

    def instances(records: list[FlowRecord]) -> list[FlowInstance]:
        return [to_instance(evaluators[record.flow], record) for record in records if record.flow in evaluators]

    @routes.get("", responses=responses(200, "FlowPage", 400, 401, 403, 422, 429, 503))
    def list_flow_instances(
        flow: FlowName = None,
        status: Annotated[list[FlowStatus] | None, Query(description="Only with one of these statuses")] = None,
        issue: Annotated[list[IssueKind] | None, Query(description="Only with one of these issues")] = None,
        key: Annotated[Text | None, Query(description="Beginning of the key", max_length=MAX_ID_CHARS)] = None,
        since: Annotated[Moment | None, Query(description="opened_at at or after this time")] = None,
        until: Annotated[Moment | None, Query(description="opened_at before this time")] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List flow instances, the last opened first."""
        where = FlowFilter(
            flow=names(flow), status=tuple(status or ()), issue=tuple(issue or ()), key=key, since=since, until=until
        )
        page = reader.flows(where, after=after, limit=limit)
        return reply(Page(items=instances(page.items), next_cursor=page.next_cursor))

    @routes.get("/declarations", responses=responses(200, "Declarations", 401, 403, 429, 503))
    def list_declared_flows() -> Response:
        """List the declared flows."""
        return reply([evaluator.flow for evaluator in evaluators.values()])

    @routes.get("/summary", responses=responses(200, "FlowSummary", 401, 403, 422, 429, 503))
    def summarize_flow_instances(
        flow: FlowName = None,
        since: Annotated[
            Moment | None,
            Query(description="opened_at at or after this time; by default a day before until"),
        ] = None,
        until: Annotated[Moment | None, Query(description="opened_at before this time; by default now")] = None,
    ) -> Response:
        """Summarize the flow instances opened in a period of at most 31 days, up to a position of the live stream."""
        outbox.number()
        now = datetime.now(UTC)  # after number(), which may have to wait for a lock
        end = until or now
        begin = max(since or end - timedelta(days=1), end - MAX_PERIOD).replace(second=0, microsecond=0)
        if begin >= end:
            return problem(422, "The period is empty: since must be before until.")
        return reply(
            summarise(
                reader.flow_sums(flow, since=begin, until=end, bucket=trend_bucket(begin, end)),
                since=begin,
                until=end,
                oldest_open=reader.oldest_open(names(flow)),
                silent=silent(events.minutes(now - LOOKBACK), now),
                now=now,
            )
        )

    @routes.get("/issues", responses=responses(200, "FlowIssuePage", 400, 401, 403, 422, 429, 503))
    def list_flow_issues(
        kind: Annotated[list[IssueKind] | None, Query(description="Only issues of one of these kinds")] = None,
        flow: FlowName = None,
        since: Annotated[Moment | None, Query(description="opened_at at or after this time")] = None,
        after: After = None,
        limit: Annotated[int, Query(ge=1, le=500, description="Maximum number of instances on this page")] = 50,
    ) -> Response:
        """List the issues of flow instances, the last opened instance first."""
        kinds = tuple(kind or ISSUE_KINDS)
        page = reader.flows(FlowFilter(flow=names(flow), issue=kinds, since=since), after=after, limit=limit)
        keyed_issues = [
            KeyedIssue(
                flow=row.flow, key=row.key, status=row.status, opened_at=row.opened_at, **msgspec.structs.asdict(issue)
            )
            for row in instances(page.items)
            for issue in row.issues
            if issue.kind in kinds
        ]
        return reply(Page(items=keyed_issues, next_cursor=page.next_cursor))

    @routes.get("/{flow}/{key:text}", responses=responses(200, "FlowInstanceDetails", 401, 403, 404, 422, 429, 503))
    def show_flow_instance(
        flow: Annotated[Text, Path(max_length=40)],
        key: Annotated[Text, Path(max_length=MAX_ID_CHARS)],
    ) -> Response:
        """Show one flow instance: its legs, issues, events and timeline."""
        record = reader.flow((flow, key)) if flow in evaluators else None
        if record is None:
            return problem(404, f"No instance of the flow {flow!r} has the key {key!r}.")
        row = to_instance(evaluators[flow], record)
        event_keys = dict.fromkeys((item.source, item.id) for item in record.evidence_set.items)
        stored = [event for event_key in event_keys if (event := events.event(event_key))]
        return reply(
            FlowInstanceDetails(
                **msgspec.structs.asdict(row),
                events=sorted(stored, key=lambda event: event.received_at),
                timeline=timeline(evaluators[flow], record),
            )
        )

    return routes
