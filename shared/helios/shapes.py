"""The bodies of the API's requests and answers; together with the core's models they are its OpenAPI schemas."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from helios.model.audit import AuditEntry
from helios.model.balances import Balance
from helios.model.counts import MinuteCount
from helios.model.dead_letters import BEYOND_HORIZON, DeadLetterGroup, ReplayedAs, StoredDeadLetter
from helios.model.events import Event, Outcome, Status
from helios.model.flow_versions import FlowPreview, FlowRules, FlowVersion, NewFlowVersion
from helios.model.flows import FlowInstance, FlowInstanceDetails, FlowSummary, KeyedIssue
from helios.model.incidents import Acknowledge, Assign, Incident, Snooze
from helios.model.paging import Page
from helios.model.recoveries import Diagnosis, Recovery, RecoveryRequest
from helios.model.replay import Matching, ReplayJob, ReplayRequest
from helios.model.resolutions import ResolutionAction, ResolutionRequest, Workload
from helios.model.sources import Source, SourceInfo
from helios.model.stream import StreamFrame
from helios.reconciliation.declaration import Flow

Component = Literal["healthy", "unhealthy", "disabled"]
EventPage = Page[Event]

WEBSOCKET_PATH = "/api/v1/ws/events"
"""The live stream, whose messages are ``helios.model.stream.Message``."""


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of one delivery."""

    status: Status
    source: Source | None = None
    producer: str | None = None
    id: str | None = None
    field: str | None = None
    reason: str | None = None


class EventKey(msgspec.Struct, frozen=True):
    """The identity of an event."""

    source: Source
    producer: str
    id: str


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of each element of an array, in the array's order."""

    results: list[Result]


class ValidationResponse(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to Event Grid's validation handshake."""

    validation_response: str


class Challenge(msgspec.Struct, frozen=True):
    """The answer to Slack's check of an endpoint."""

    challenge: str


class FramePage(msgspec.Struct, frozen=True, kw_only=True):
    """Part of the live stream.

    Attributes:
        frames: in the order of their positions, without gaps.
        position: the latest position of the stream.
        oldest: the first position that is still stored; None if no frame is.
    """

    frames: list[StreamFrame]
    position: int
    oldest: int | None


class Notified(msgspec.Struct, frozen=True, kw_only=True):
    """The relay was notified."""

    status: Literal["notified"]


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """A ticket that opens one WebSocket, once.

    Attributes:
        expires_in: seconds until the ticket expires.
    """

    ticket: str
    expires_in: int


class FieldError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An invalid field of a request, and the reason.

    Attributes:
        line: the line of the field in a text that the request contains; absent for any other field.
    """

    field: str
    reason: str
    line: int | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An RFC 9457 problem."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


class ComponentHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The state of each service that Helios needs."""

    database: Component
    redis: Component
    kafka: Component
    log: Component
    projector: Component
    archive: Component


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The totals since the first event. The total of events excludes deliveries that did not become events.

    Attributes:
        position: a position of the live stream: the totals include exactly the frames up to it.
    """

    position: int
    total_events: int
    events_by_source: dict[Source, int]
    last_24h: int
    duplicates: int
    contradictory: int
    rejected: int
    health: ComponentHealth


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of deliveries in a period.

    Attributes:
        since: the first minute of the period.
        until: when the counts were read, UTC; the count of that minute is still growing.
        minutes: the minutes with at least one delivery, in order.
    """

    since: datetime
    until: datetime
    minutes: list[MinuteCount]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The process is alive."""

    status: Literal["healthy"]


class DetailedHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The state of each service that Helios needs, as probed for this response.

    Attributes:
        status: ``degraded``: events are stored exactly once, but more slowly (no Redis), or are not passed on (no
            Kafka), or not shown (no projector), or not archived. ``unhealthy``: nothing can be stored (no database), or
            nothing can be received (no log).
        database: Postgres answered a query.
        redis: Redis answered a PING.
        kafka: a broker answered a request for the list of topics.
        log: a broker of the log answered; disabled where Postgres judges.
        projector: a projector runs; disabled where Postgres judges.
        archive: it has succeeded within the last two days; disabled without HELIOS_ARCHIVE_URL.
        uptime: seconds since this process started.
        timestamp: time of this response, UTC.
        reasons: for each unhealthy service, why.
    """

    status: Literal["healthy", "degraded", "unhealthy"]
    database: Component
    redis: Component
    kafka: Component
    log: Component
    projector: Component
    archive: Component
    uptime: float
    timestamp: datetime
    reasons: dict[str, str]


class DeadLetterView(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter, with its body as text.

    Attributes:
        body: the received body, with U+FFFD for bytes that are not UTF-8; in a list only the first PREVIEW_BYTES.
        body_bytes: how many bytes of the body are stored.
        beyond_horizon: whether a replay must accept that the event may have been stored before.
        replayed_as: the outcome of the successful replay; None if no replay has succeeded.
        replayed_at: time of the successful replay, UTC.
        replayed_keys: the events that the dead letter became.
        replays: the latest MAX_REPLAYS entries of the audit log about the dead letter, the newest first; empty in a
            list, and for a token with limits.
    """

    id: int
    source: str
    channel: str
    status: Literal["rejected", "contradictory"]
    field: str
    reason: str
    attempts: int
    first_received_at: datetime
    last_received_at: datetime
    headers: dict[str, str]
    body: str
    body_bytes: int
    beyond_horizon: bool = False
    replayed_as: ReplayedAs | None = None
    replayed_at: datetime | None = None
    replayed_keys: list[EventKey] = []
    replays: list[AuditEntry] = []


class Repair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request to replay a dead letter.

    Attributes:
        body: the repaired body; None: the body as it was received.
        accept: store an event that is beyond the identity horizon, although it may have been stored before.
    """

    body: str | None = None
    accept: bool = False


MAX_REPLAYS = 50
"""Maximum number of replays in one dead letter's response."""

PREVIEW_BYTES = 1_000
"""Maximum number of bytes of a dead letter's body in a list."""

SourceList = list[SourceInfo]
DeadLetterPage = Page[DeadLetterView]
FlowPage = Page[FlowInstance]
FlowIssuePage = Page[KeyedIssue]
IncidentPage = Page[Incident]
BalancePage = Page[Balance]
Declarations = list[Flow]
DeadLetterGroups = list[DeadLetterGroup]
ReplayPage = Page[ReplayJob]
AuditPage = Page[AuditEntry]
ResolutionPage = Page[ResolutionAction]
RecoveryPage = Page[Recovery]
Diagnoses = list[Diagnosis]
Workloads = list[Workload]
FlowRulesList = list[FlowRules]
FlowVersionPage = Page[FlowVersion]


def result_of(outcome: Outcome) -> Result:
    """The outcome of a delivery, as the API shows it."""
    return Result(
        status=outcome.status,
        source=outcome.event.source if outcome.event else None,
        producer=outcome.event.producer if outcome.event else None,
        id=outcome.event.id if outcome.event else None,
        field=outcome.field,
        reason=outcome.reason,
    )


def dead_letter_view(
    stored: StoredDeadLetter, *, max_bytes: int | None = None, replays: Sequence[AuditEntry] = ()
) -> DeadLetterView:
    """The dead letter as the API shows it, with the first ``max_bytes`` of its body, or all of it."""
    dead_letter = stored.dead_letter
    return DeadLetterView(
        id=stored.id,
        source=dead_letter.source,
        channel=dead_letter.channel,
        status=dead_letter.status,
        field=dead_letter.field,
        reason=dead_letter.reason,
        attempts=dead_letter.attempts,
        first_received_at=stored.first_received_at,
        last_received_at=dead_letter.received_at,
        headers=dict(dead_letter.headers),
        body=dead_letter.body[:max_bytes].decode(errors="replace"),
        body_bytes=stored.body_bytes,
        beyond_horizon=stored.dead_letter.reason == BEYOND_HORIZON,
        replayed_as=stored.replayed_as,
        replayed_at=stored.replayed_at,
        replayed_keys=[EventKey(*key) for key in stored.replayed_keys],
        replays=list(replays),
    )


SCHEMAS: dict[str, Any] = {
    "Event": Event,
    "EventPage": EventPage,
    "Result": Result,
    "Results": Results,
    "ValidationResponse": ValidationResponse,
    "Challenge": Challenge,
    "Sources": SourceList,
    "FramePage": FramePage,
    "Notified": Notified,
    "Ticket": Ticket,
    "Problem": Problem,
    "Stats": Stats,
    "Counts": Counts,
    "Health": Health,
    "DetailedHealth": DetailedHealth,
    "DeadLetterView": DeadLetterView,
    "DeadLetterPage": DeadLetterPage,
    "Repair": Repair,
    "DeadLetterGroups": DeadLetterGroups,
    "ReplayRequest": ReplayRequest,
    "ReplayJob": ReplayJob,
    "ReplayPage": ReplayPage,
    "Matching": Matching,
    "AuditPage": AuditPage,
    "ResolutionRequest": ResolutionRequest,
    "ResolutionAction": ResolutionAction,
    "ResolutionPage": ResolutionPage,
    "Workloads": Workloads,
    "Diagnoses": Diagnoses,
    "RecoveryRequest": RecoveryRequest,
    "Recovery": Recovery,
    "RecoveryPage": RecoveryPage,
    "FlowPage": FlowPage,
    "FlowInstanceDetails": FlowInstanceDetails,
    "FlowSummary": FlowSummary,
    "FlowIssuePage": FlowIssuePage,
    "Declarations": Declarations,
    "FlowRulesList": FlowRulesList,
    "FlowVersion": FlowVersion,
    "FlowVersionPage": FlowVersionPage,
    "NewFlowVersion": NewFlowVersion,
    "FlowPreview": FlowPreview,
    "Incident": Incident,
    "IncidentPage": IncidentPage,
    "BalancePage": BalancePage,
    "Acknowledge": Acknowledge,
    "Snooze": Snooze,
    "Assign": Assign,
}
"""The body of each request and response by its OpenAPI name."""
