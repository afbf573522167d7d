"""Flow instances, their issues, and a summary."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Response

from helios.api.access import ViewDependency
from helios.api.parameters import After, Limit, Moment, Text
from helios.api.replies import problem, reply, responses
from helios.model.events import MAX_ID_CHARS
from helios.model.flows import (
    ISSUE_KINDS,
    MAX_ASSIGNEE_CHARS,
    FlowFilter,
    FlowStatus,
    IssueKind,
    KeyedIssue,
    ResolutionState,
)
from helios.model.paging import Page
from helios.reconciliation.silence import LOOKBACK, silent
from helios.reconciliation.summary import most_sources, summarise, trend_bucket
from helios.services.views import View
from helios.sources.registry import Sources

MAX_PERIOD = timedelta(days=31)

FlowName = Annotated[Text | None, Query(description="Only this flow", max_length=40)]


def router(view: ViewDependency, sources: Sources) -> APIRouter:
    """The routes that read the declared flows and their instances."""
    routes = APIRouter(prefix="/api/v1/flows", tags=["flows"])

    @routes.get("", responses=responses(200, "FlowPage", 400, 401, 403, 422, 429, 503))
    def list_flow_instances(
        reader: Annotated[View, Depends(view)],
        flow: FlowName = None,
        status: Annotated[list[FlowStatus] | None, Query(description="Only with one of these statuses")] = None,
        issue: Annotated[list[IssueKind] | None, Query(description="Only with one of these issues")] = None,
        key: Annotated[Text | None, Query(description="Beginning of the key", max_length=MAX_ID_CHARS)] = None,
        resolution: Annotated[
            list[ResolutionState] | None, Query(description="Only with one of these resolutions")
        ] = None,
        assignee: Annotated[
            Text | None, Query(description="Only assigned to this person", max_length=MAX_ASSIGNEE_CHARS)
        ] = None,
        since: Annotated[Moment | None, Query(description="opened_at at or after this time")] = None,
        until: Annotated[Moment | None, Query(description="opened_at before this time")] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """List flow instances, the last opened first."""
        where = FlowFilter(
            flow=_named(flow),
            status=tuple(status or ()),
            issue=tuple(issue or ()),
            key=key,
            resolution=tuple(resolution or ()),
            assignee=assignee,
            since=since,
            until=until,
        )
        return reply(reader.flows(where, after=after, limit=limit))

    @routes.get("/declarations", responses=responses(200, "Declarations", 401, 403, 429, 503))
    def list_declared_flows(reader: Annotated[View, Depends(view)]) -> Response:
        """List the declared flows."""
        return reply(list(reader.declarations.values()))

    @routes.get("/summary", responses=responses(200, "FlowSummary", 401, 403, 422, 429, 503))
    def summarize_flow_instances(
        reader: Annotated[View, Depends(view)],
        flow: FlowName = None,
        since: Annotated[
            Moment | None,
            Query(description="opened_at at or after this time; by default a day before until"),
        ] = None,
        until: Annotated[Moment | None, Query(description="opened_at before this time; by default now")] = None,
    ) -> Response:
        """Summarize the flow instances opened in a period of at most 31 days, up to a position of the live stream."""
        reader.window()
        now = datetime.now(UTC)  # after window(), which may have to wait for a lock
        end = until or now
        begin = max(since or end - timedelta(days=1), end - MAX_PERIOD).replace(second=0, microsecond=0)
        if begin >= end:
            return problem(422, "The period is empty: since must be before until.")
        return reply(
            summarise(
                reader.flow_sums(flow, since=begin, until=end, bucket=trend_bucket(begin, end)),
                since=begin,
                until=end,
                oldest_open=reader.oldest_open(flow),
                sources=most_sources([reader.declarations[name] for name in _visible(reader, flow)], len(sources)),
                silent=silent(reader.minutes(now - LOOKBACK), now),
                now=now,
            )
        )

    @routes.get("/issues", responses=responses(200, "FlowIssuePage", 400, 401, 403, 422, 429, 503))
    def list_flow_issues(
        reader: Annotated[View, Depends(view)],
        kind: Annotated[list[IssueKind] | None, Query(description="Only issues of one of these kinds")] = None,
        flow: FlowName = None,
        since: Annotated[Moment | None, Query(description="opened_at at or after this time")] = None,
        after: After = None,
        limit: Annotated[int, Query(ge=1, le=500, description="Maximum number of instances on this page")] = 50,
    ) -> Response:
        """List the issues of flow instances, the last opened instance first."""
        kinds = tuple(kind or ISSUE_KINDS)
        page = reader.flows(FlowFilter(flow=_named(flow), issue=kinds, since=since), after=after, limit=limit)
        keyed_issues = [
            KeyedIssue(
                flow=row.flow, key=row.key, status=row.status, opened_at=row.opened_at, **msgspec.structs.asdict(issue)
            )
            for row in page.items
            for issue in row.issues
            if issue.kind in kinds
        ]
        return reply(Page(items=keyed_issues, next_cursor=page.next_cursor))

    @routes.get("/workload", responses=responses(200, "Workloads", 401, 403, 429, 503))
    def list_unresolved_problems(reader: Annotated[View, Depends(view)]) -> Response:
        """Count the mismatched and incomplete instances that nobody has resolved, by flow, age and assignee."""
        return reply(reader.workload(datetime.now(UTC)))

    @routes.get("/{flow}/{key:text}", responses=responses(200, "FlowInstanceDetails", 401, 403, 404, 422, 429, 503))
    def show_flow_instance(
        reader: Annotated[View, Depends(view)],
        flow: Annotated[Text, Path(max_length=40)],
        key: Annotated[Text, Path(max_length=MAX_ID_CHARS)],
    ) -> Response:
        """Show one flow instance: its legs, issues, events and timeline."""
        details = reader.flow(flow, key)
        return reply(details) if details else problem(404, f"No instance of the flow {flow!r} has the key {key!r}.")

    return routes


def _visible(reader: View, flow: str | None) -> list[str]:
    """One flow, or all, if the caller may see it."""
    return [name for name in reader.declarations if flow in {None, name}]


def _named(flow: str | None) -> tuple[str, ...]:
    return () if flow is None else (flow,)
