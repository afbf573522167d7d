"""The client: a method for each question to the API."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from helios import standard_webhooks
from helios.client import sending, stream
from helios.client.connection import TIMEOUT_SECONDS, Connection, decoder
from helios.client.sending import NewEvent
from helios.model.balances import Balance, BalanceState
from helios.model.dead_letters import DeadLetterGroup
from helios.model.events import Event
from helios.model.flow_versions import FlowPreview, FlowRules, FlowVersion, NewFlowVersion
from helios.model.flows import (
    FlowInstance,
    FlowInstanceDetails,
    FlowStatus,
    FlowSummary,
    IssueKind,
    KeyedIssue,
    ResolutionState,
)
from helios.model.incidents import Acknowledge, Assign, Incident, IncidentKind, IncidentState, Snooze
from helios.model.recoveries import Diagnosis, Recovery, RecoveryRequest
from helios.model.replay import Matching, ReplayJob, ReplayRequest
from helios.model.resolutions import ResolutionAction, ResolutionRequest, Workload
from helios.model.sources import SourceInfo
from helios.model.stream import StreamFrame
from helios.reconciliation.declaration import Flow
from helios.shapes import WEBSOCKET_PATH, DeadLetterView, DetailedHealth, FramePage, Repair, Result, Stats, Ticket

T = TypeVar("T")

DeadLetterStatus = Literal["rejected", "contradictory"]

PAUSE_SECONDS = 0.5


def _ignore(_: str) -> None:
    """Take a note, and do nothing with it."""


class Client:
    """A client of one API, with one token. It holds no connection, so it needs no closing.

    Each method that returns an iterator requests a page when the loop needs it. Filters that are None select all.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        signing_secret: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Build the client; it connects with the first request.

        Args:
            url: the API's URL, ``https://host`` or ``http://127.0.0.1:8001``.
            token: a token of ``helios tokens create`` or of the OpenID provider; None for an API that needs none.
            signing_secret: the secret of Standard Webhooks with which ``send`` signs, ``whsec_...``.
            timeout_seconds: longest wait for an answer; a function that starts cold needs longer.

        Raises:
            ConfigurationError: the URL is neither http:// nor https://, or the secret has the wrong form.
        """
        self._connection = Connection(url, token=token, timeout_seconds=timeout_seconds)
        self._key = standard_webhooks.key_of(signing_secret, variable="signing_secret") if signing_secret else None

    # Sending

    def send(self, events: NewEvent | Iterable[NewEvent], *, endpoint: str = "cloudevents") -> list[Result]:
        """Send events, and return what became of each. Sending the same objects again is safe.

        Args:
            events: one event or many; MAX_BATCH go into one request.
            endpoint: the name of a declared source that takes CloudEvents; by default the endpoint of all clouds.

        Raises:
            ApiError: a request failed, or all of its events were rejected: ``errors`` has the first reason. Events of
                earlier requests are stored.
        """
        waiting = [events] if isinstance(events, NewEvent) else list(events)
        results: list[Result] = []
        for start in range(0, len(waiting), sending.MAX_BATCH):
            body = sending.batch(waiting[start : start + sending.MAX_BATCH])
            path = f"webhooks/{quote(endpoint, safe='')}"
            headers = sending.headers(body, self._key)
            results += self._connection.request("POST", path, _results, body, headers=headers)
        return results

    # Events

    def events(
        self,
        *,
        source: str | None = None,
        type: str | None = None,  # noqa: A002 - CloudEvents' word
        order_id: str | None = None,
        attributes: Mapping[str, str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Event]:
        """Stored events, the last received first; ``since`` <= received_at < ``until``.

        Raises:
            ApiError: a request failed.
        """
        return self._connection.items(
            "events",
            Event,
            limit=limit,
            source=source,
            type=type,
            order_id=order_id,
            attribute=[f"{name}:{value}" for name, value in (attributes or {}).items()],
            since=_text(since),
            until=_text(until),
        )

    def event(self, source: str, producer: str, id: str) -> Event:  # noqa: A002 - CloudEvents' word
        """One event, by its identity.

        Raises:
            ApiError: the request failed; with the status 404 if no event has this identity.
        """
        return self._connection.get(f"events/{quote(source, safe='')}/{quote(id, safe='')}", Event, producer=producer)

    # Flows

    def flows(
        self,
        *,
        flow: str | None = None,
        status: Sequence[FlowStatus] | None = None,
        issue: Sequence[IssueKind] | None = None,
        key: str | None = None,
        resolution: Sequence[ResolutionState] | None = None,
        assignee: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[FlowInstance]:
        """Flow instances, the last opened first; ``since`` <= opened_at < ``until``. ``key`` is a beginning.

        Raises:
            ApiError: a request failed.
        """
        return self._connection.items(
            "flows",
            FlowInstance,
            limit=limit,
            flow=flow,
            status=status,
            issue=issue,
            key=key,
            resolution=resolution,
            assignee=assignee,
            since=_text(since),
            until=_text(until),
        )

    def flow(self, flow: str, key: str) -> FlowInstanceDetails:
        """One flow instance, with its events and its timeline.

        Raises:
            ApiError: the request failed; with the status 404 if the flow has no such instance.
        """
        return self._connection.get(f"flows/{quote(flow, safe='')}/{quote(key, safe='')}", FlowInstanceDetails)

    def flow_issues(
        self,
        *,
        kind: Sequence[IssueKind] | None = None,
        flow: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[KeyedIssue]:
        """The issues of flow instances, those of the last opened instance first.

        Raises:
            ApiError: a request failed.
        """
        return self._connection.items("flows/issues", KeyedIssue, limit=limit, kind=kind, flow=flow, since=_text(since))

    def flow_summary(
        self, *, flow: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> FlowSummary:
        """The flow instances that opened in a period of at most 31 days, added up; by default the last day.

        Raises:
            ApiError: the request failed.
        """
        return self._connection.get("flows/summary", FlowSummary, flow=flow, since=_text(since), until=_text(until))

    def declared_flows(self) -> list[Flow]:
        """The declared flows.

        Raises:
            ApiError: the request failed.
        """
        return self._connection.get("flows/declarations", list[Flow])

    # Resolutions

    def resolve(self, request: ResolutionRequest) -> ResolutionAction:
        """Assign, annotate, accept, write off or reopen flow instances; with ``dry_run``, only count them.

        Raises:
            ApiError: the request failed; with the status 422 if no flow instance matches, or too many do.
        """
        return self._connection.post("resolutions", request, decoder(ResolutionAction))

    def undo_resolution(self, id: int) -> ResolutionAction:  # noqa: A002 - the API's word
        """Restore what an action has changed, except for what a later action has changed again.

        Raises:
            ApiError: the request failed; with the status 404 or 409 if there is no such action, or it was undone.
        """
        return self._connection.post(f"resolutions/{id}/undo", None, decoder(ResolutionAction))

    def resolutions(
        self, *, flow: str | None = None, key: str | None = None, limit: int | None = None
    ) -> Iterator[ResolutionAction]:
        """What people did about flow instances, or about the one with this flow and key, the newest first.

        Raises:
            ApiError: a request failed.
        """
        return self._connection.items("resolutions", ResolutionAction, limit=limit, flow=flow, key=key)

    def workload(self) -> list[Workload]:
        """The mismatched and incomplete instances that nobody has resolved, by flow, age and assignee.

        Raises:
            ApiError: the request failed.
        """
        return self._connection.get("flows/workload", list[Workload])

    # Rules

    def flow_rules(self) -> list[FlowRules]:
        """The rules of each flow that are in force, and the draft if there is one.

        Raises:
            ApiError: the request failed.
        """
        return self._connection.get("flow-versions", list[FlowRules])

    def flow_versions(self, flow: str, *, limit: int | None = None) -> Iterator[FlowVersion]:
        """The versions of a flow, the newest first.

        Raises:
            ApiError: a request failed.
        """
        return self._connection.items(f"flow-versions/{quote(flow, safe='')}", FlowVersion, limit=limit)

    def flow_text(self, flow: str, version: int | None = None) -> bytes:
        """The TOML of a version, or of the rules in force, byte for byte as its author wrote it.

        Raises:
            ApiError: the request failed; with the status 404 if there is none, with 409 if a file owns the flow.
        """
        of_version = "" if version is None else f"/{version}"
        path = f"flow-versions/{quote(flow, safe='')}{of_version}/toml"
        return self._connection.request("GET", path, bytes, headers=self._connection.authorization)

    def save_flow_version(self, text: str, *, based_on: int | None = None) -> FlowVersion:
        """Save a draft of the flow that the text declares.

        Args:
            text: TOML, in the format of a file of flows.
            based_on: the latest version that the author has seen; None: the flow has no version.

        Raises:
            ApiError: the request failed; with the status 409 if another version was saved meanwhile or a file owns the
                flow, with 422 if the text is wrong: ``errors`` has the key and the line.
        """
        request = NewFlowVersion(text=text, based_on=based_on)
        return self._connection.post("flow-versions", request, decoder(FlowVersion))

    def preview_flow_version(self, flow: str, version: int, *, days: int = 30) -> FlowPreview:
        """What a version would change in the instances of the last days.

        Raises:
            ApiError: the request failed; with the status 404 if there is no such version.
        """
        path = f"flow-versions/{quote(flow, safe='')}/{version}/preview?{urlencode({'days': days})}"
        return self._connection.post(path, None, decoder(FlowPreview))

    def approve_flow_version(self, flow: str, version: int) -> FlowVersion:
        """Put a previewed draft in force, and start to evaluate the stored instances by it.

        Raises:
            ApiError: the request failed; with the status 409 if the version is no draft, or was not previewed.
        """
        path = f"flow-versions/{quote(flow, safe='')}/{version}/approve"
        return self._connection.post(path, None, decoder(FlowVersion))

    def withdraw_flow_version(self, flow: str, version: int) -> FlowVersion:
        """End a flow that only its versions declare, by withdrawing the version in force.

        Raises:
            ApiError: the request failed; with the status 409 if the version is not in force, or the flow is declared
                elsewhere too.
        """
        path = f"flow-versions/{quote(flow, safe='')}/{version}/withdraw"
        return self._connection.post(path, None, decoder(FlowVersion))

    # Recoveries

    def diagnoses(self, flow: str, key: str) -> list[Diagnosis]:
        """Why each missing leg of a flow instance is missing, as far as Helios knows.

        Raises:
            ApiError: the request failed; with the status 404 if the flow has no such instance.
        """
        return self._connection.get("diagnoses", list[Diagnosis], flow=flow, key=key)

    def recover(self, flow: str, key: str, leg: str) -> Recovery:
        """Start to bring back one missing leg of one flow instance from its cloud.

        Raises:
            ApiError: the request failed; with the status 404 if the flow has no such instance, and with 409 if the leg
                is not missing or a recovery of it is running.
        """
        request = RecoveryRequest(flow=flow, key=key, leg=leg)
        return self._connection.post("recoveries", request, decoder(Recovery))

    def recovery(self, id: int) -> Recovery:  # noqa: A002 - the API's word
        """One recovery.

        Raises:
            ApiError: the request failed; with the status 404 if no recovery has this id.
        """
        return self._connection.get(f"recoveries/{id}", Recovery)

    def recoveries(
        self, *, flow: str | None = None, key: str | None = None, limit: int | None = None
    ) -> Iterator[Recovery]:
        """The recoveries, or those of the instance with this flow and key, the newest first.

        Raises:
            ApiError: a request failed.
        """
        return self._connection.items("recoveries", Recovery, limit=limit, flow=flow, key=key)

    # Dead letters

    def dead_letters(
        self,
        *,
        source: str | None = None,
        status: DeadLetterStatus | None = None,
        field: str | None = None,
        reason: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        replayed: bool | None = None,
        limit: int | None = None,
    ) -> Iterator[DeadLetterView]:
        """The deliveries that did not become events, the newest first, each with the beginning of its body.

        Raises:
            ApiError: a request failed.
        """
        return self._connection.items(
            "dead-letters",
            DeadLetterView,
            limit=limit,
            source=source,
            status=status,
            field=field,
            reason=reason,
            since=_text(since),
            until=_text(until),
            replayed=_flag(replayed),
        )

    def dead_letter_groups(
        self,
        *,
        source: str | None = None,
        status: DeadLetterStatus | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        replayed: bool | None = None,
        limit: int = 100,
    ) -> list[DeadLetterGroup]:
        """Dead letters counted by source, field and reason, the most frequent first; at most 500 groups.

        Raises:
            ApiError: the request failed.
        """
        return self._connection.get(
            "dead-letters/groups",
            list[DeadLetterGroup],
            source=source,
            status=status,
            since=_text(since),
            until=_text(until),
            replayed=_flag(replayed),
            limit=limit,
        )

    def dead_letter(self, id: int) -> DeadLetterView:  # noqa: A002 - the API's word
        """One dead letter, with the whole body that is stored.

        Raises:
            ApiError: the request failed; with the status 404 if no dead letter has this id.
        """
        return self._connection.get(f"dead-letters/{id}", DeadLetterView)

    def replay_dead_letter(
        self,
        id: int,  # noqa: A002 - the API's word
        *,
        body: str | None = None,
        accept: bool = False,
    ) -> list[Result]:
        """Replay a dead letter, as it was received or with a repaired body, and return what became of its events.

        Args:
            id: the id of the dead letter.
            body: the whole repaired body; None: the body as it was received.
            accept: store an event beyond the identity horizon, although it may have been stored before.

        Raises:
            ApiError: the request failed; with the status 409 or 422 if the dead letter can't become an event.
        """
        return self._connection.post(f"dead-letters/{id}/replay", Repair(body=body, accept=accept), _results)

    # Incidents

    def incidents(
        self,
        *,
        state: IncidentState | None = None,
        kind: Sequence[IncidentKind] | None = None,
        flow: str | None = None,
        source: str | None = None,
        snoozed: bool | None = None,
        limit: int | None = None,
    ) -> Iterator[Incident]:
        """Incidents, the last opened first.

        Raises:
            ApiError: a request failed.
        """
        return self._connection.items(
            "incidents",
            Incident,
            limit=limit,
            state=state,
            kind=kind,
            flow=flow,
            source=source,
            snoozed=_flag(snoozed),
        )

    def incident(self, id: int) -> Incident:  # noqa: A002 - the API's word
        """One incident.

        Raises:
            ApiError: the request failed; with the status 404 if no incident has this id.
        """
        return self._connection.get(f"incidents/{id}", Incident)

    def incident_instances(
        self,
        id: int,  # noqa: A002 - the API's word
        *,
        limit: int | None = None,
    ) -> Iterator[FlowInstance]:
        """The flow instances that an incident counts, the last opened first.

        Raises:
            ApiError: a request failed; with the status 404 if no incident has this id.
        """
        return self._connection.items(f"incidents/{id}/instances", FlowInstance, limit=limit)

    def acknowledge_incident(self, id: int, *, acknowledged: bool = True) -> Incident:  # noqa: A002 - the API's word
        """Acknowledge an open incident, or withdraw that.

        Raises:
            ApiError: the request failed; with the status 409 if the incident is resolved.
        """
        body = Acknowledge(acknowledged=acknowledged)
        return self._connection.post(f"incidents/{id}/acknowledge", body, decoder(Incident))

    def snooze_incident(self, id: int, until: datetime | None) -> Incident:  # noqa: A002 - the API's word
        """Snooze an open incident until a time; None ends the snooze.

        Raises:
            ApiError: see ``acknowledge_incident``.
        """
        return self._connection.post(f"incidents/{id}/snooze", Snooze(until=until), decoder(Incident))

    def assign_incident(self, id: int, assignee: str | None) -> Incident:  # noqa: A002 - the API's word
        """Assign an open incident to a person or team; None to nobody.

        Raises:
            ApiError: see ``acknowledge_incident``.
        """
        return self._connection.post(f"incidents/{id}/assign", Assign(assignee=assignee), decoder(Incident))

    # Balances

    def balances(
        self,
        *,
        state: Sequence[BalanceState] | None = None,
        source: str | None = None,
        type: str | None = None,  # noqa: A002 - CloudEvents' word
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Balance]:
        """What was published by minute, source and type, and what arrived of it, the newest minute first.

        A producer says what it has published in an event of the type MANIFEST_TYPE, which ``send`` sends.

        Raises:
            ApiError: a request failed.
        """
        return self._connection.items(
            "balances",
            Balance,
            limit=limit,
            state=state,
            source=source,
            type=type,
            since=_text(since),
            until=_text(until),
        )

    # Replay jobs

    def start_replay(self, request: ReplayRequest) -> ReplayJob:
        """Start a job that sends stored events or dead letters again.

        Raises:
            ApiError: the request failed.
        """
        return self._connection.post("replays", msgspec.structs.replace(request, dry_run=False), decoder(ReplayJob))

    def count_replay(self, request: ReplayRequest) -> Matching:
        """What a job would send, without starting it.

        Raises:
            ApiError: the request failed.
        """
        return self._connection.post("replays", msgspec.structs.replace(request, dry_run=True), decoder(Matching))

    def replays(self, *, limit: int | None = None) -> Iterator[ReplayJob]:
        """The replay jobs, the newest first.

        Raises:
            ApiError: a request failed.
        """
        return self._connection.items("replays", ReplayJob, limit=limit)

    def replay(self, id: int) -> ReplayJob:  # noqa: A002 - the API's word
        """A replay job and its progress.

        Raises:
            ApiError: the request failed; with the status 404 if no job has this id.
        """
        return self._connection.get(f"replays/{id}", ReplayJob)

    def cancel_replay(self, id: int) -> ReplayJob:  # noqa: A002 - the API's word
        """Cancel a running replay job.

        Raises:
            ApiError: the request failed; with the status 409 if the job has ended.
        """
        return self._connection.post(f"replays/{id}/cancel", None, decoder(ReplayJob))

    # The live stream

    def frames(self, after: int = 0) -> FramePage:
        """The frames after a position, at most 500, and which part of the stream is still stored.

        Raises:
            ApiError: the request failed.
        """
        return stream.page(self._connection, after)

    def ticket(self) -> Ticket:
        """A ticket that opens one WebSocket, once.

        Raises:
            ApiError: the request failed; with the status 503 if the API has no Redis.
        """
        return stream.ticket(self._connection)

    def follow(
        self, *, after: int | None = None, pause_seconds: float = PAUSE_SECONDS, note: stream.Note = _ignore
    ) -> Iterator[StreamFrame]:
        """Every frame, in order, without an end, by polling: this works through every proxy.

        Args:
            after: start after this position; None: from now on.
            pause_seconds: time between two requests while nothing happens.
            note: called with a sentence when the API is unavailable, or has deleted frames that were not read yet.

        Raises:
            ApiError: the stream's present position is unknown, or the API refuses the client.
        """
        return self._reader(after, note).poll(pause_seconds)

    def listen(
        self, *, after: int | None = None, url: str | None = None, note: stream.Note = _ignore
    ) -> Iterator[StreamFrame]:
        """Every frame, in order, without an end, as the WebSocket delivers it.

        It opens a lost connection again, and reads the frames in between from ``/api/v1/frames``: none is missing and
        none comes twice. A frame that exceeds a message shows fewer of its events; its counts are exact.

        Args:
            after: start after this position; None: from now on.
            url: the WebSocket's URL; by default that of the API. On AWS it is the one of the API Gateway.
            note: see ``follow``.

        Raises:
            ApiError: see ``follow``.
        """
        default = f"ws{self._connection.url.removeprefix('http')}{WEBSOCKET_PATH}"
        return self._reader(after, note).listen(url or default)

    def _reader(self, after: int | None, note: stream.Note) -> stream.Reader:
        position = self.frames().position if after is None else after
        return stream.Reader(self._connection, position, note)

    # The installation

    def sources(self) -> list[SourceInfo]:
        """The sources: the three clouds and the declared ones.

        Raises:
            ApiError: the request failed.
        """
        return self._connection.get("sources", list[SourceInfo])

    def stats(self) -> Stats:
        """The totals since the first event.

        Raises:
            ApiError: the request failed.
        """
        return self._connection.get("stats", Stats)

    def health(self) -> DetailedHealth:
        """The state of each service that Helios needs, also when Helios is unhealthy.

        Raises:
            ApiError: the request failed, or the answer is not one of Helios.
        """
        return self._connection.get("health/detailed", DetailedHealth, answers={HTTPStatus.SERVICE_UNAVAILABLE})

    def get(self, path: str, type_: type[T], **query: Any) -> T:
        """The answer of a route that has no method here, such as ``audit``, decoded as this type.

        Raises:
            ApiError: the request failed, or the answer is of another type.
        """
        return self._connection.get(path, type_, **query)


def _results(body: bytes) -> list[Result]:
    """The results in an answer: one, or one for each element of an array."""
    members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    if "results" in members:
        return msgspec.json.decode(members["results"], type=list[Result])
    return [msgspec.json.decode(body, type=Result)]


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _flag(value: bool | None) -> str | None:  # noqa: FBT001 - a filter's value
    return None if value is None else str(value).lower()
