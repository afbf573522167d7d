"""What the API answers with; these and the core's own models are its OpenAPI schemas."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from helios.model.audit import AuditEntry
from helios.model.counts import MinuteCount
from helios.model.dead_letters import DeadLetterGroup, ReplayedAs, StoredDeadLetter
from helios.model.events import Event, Outcome, Source, Status
from helios.model.flows import FlowInstance, FlowInstanceDetails, FlowSummary, KeyedIssue
from helios.model.paging import Page
from helios.model.replay import Matching, ReplayJob, ReplayRequest
from helios.model.stream import StreamFrame
from helios.reconciliation.declaration import Flow

Component = Literal["healthy", "unhealthy", "disabled"]
EventPage = Page[Event]


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one delivery."""

    status: Status
    source: Source | None = None
    id: str | None = None
    field: str | None = None
    reason: str | None = None


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each element of an array, in its order."""

    results: list[Result]


class ValidationResponse(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to Event Grid's validation handshake."""

    validation_response: str


class FramePage(msgspec.Struct, frozen=True, kw_only=True):
    """Part of the stream.

    Attributes:
        frames: in order of their positions, without a hole.
        position: the latest position given.
        oldest: the first position that is still kept; None when there is none.
    """

    frames: list[StreamFrame]
    position: int
    oldest: int | None


class Notified(msgspec.Struct, frozen=True, kw_only=True):
    """The relay has been woken."""

    status: Literal["rung"]


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """What opens one WebSocket, once.

    Attributes:
        expires_in: seconds for which it does.
    """

    ticket: str
    expires_in: int


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a request, and where."""

    field: str
    reason: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An RFC 9457 problem."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


class ComponentHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The parts Helios stands on."""

    database: Component
    redis: Component
    kafka: Component


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The totals since the first event; the deliveries that did not become events are counted beside them.

    Attributes:
        position: of the live stream: its frames up to here are in the totals, and no later one is.
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
    """A stretch of the ledger.

    Attributes:
        since: from this minute on.
        until: when it was read, UTC; the minute of this moment goes on.
        minutes: those in which something arrived, in order.
    """

    since: datetime
    until: datetime
    minutes: list[MinuteCount]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """This process answers."""

    status: Literal["healthy"]


class DetailedHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Each part, probed just now.

    Attributes:
        status: ``degraded``: exact, but slower (no Redis) or not passed on (no Kafka). ``unhealthy``: nothing can be
            stored (no database).
        database: Postgres answered a query.
        redis: Redis answered a PING.
        kafka: a broker answered a request for the list of topics.
        uptime: seconds since this process started.
        timestamp: of this answer, UTC.
        reasons: of each part that is unhealthy, what it said.
    """

    status: Literal["healthy", "degraded", "unhealthy"]
    database: Component
    redis: Component
    kafka: Component
    uptime: float
    timestamp: datetime
    reasons: dict[str, str]


class DeadLetterView(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter as text.

    Attributes:
        body: what was received, bytes that are no UTF-8 as U+FFFD; in a list only the first PREVIEW_BYTES.
        body_bytes: how many bytes are kept.
        replayed_as: what its replay became; None when it was not replayed with success.
        replayed_at: when, UTC.
        replayed_keys: the events that it became, as ``source/id``.
        replays: the last MAX_REPLAYS lines of the audit log about it, the newest first; in a list none.
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
    replayed_as: ReplayedAs | None = None
    replayed_at: datetime | None = None
    replayed_keys: list[str] = []
    replays: list[AuditEntry] = []


class Repair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to read in place of what was received; None: that, once more."""

    body: str | None = None


MAX_REPLAYS = 50
"""How many of its replays a dead letter shows."""

PREVIEW_BYTES = 1_000
"""How much of a dead letter's body a list shows."""

DeadLetterPage = Page[DeadLetterView]
FlowPage = Page[FlowInstance]
FlowIssuePage = Page[KeyedIssue]
Declarations = list[Flow]
DeadLetterGroups = list[DeadLetterGroup]
ReplayPage = Page[ReplayJob]
AuditPage = Page[AuditEntry]


def result_of(outcome: Outcome) -> Result:
    """What became of a delivery, as the API tells it."""
    return Result(
        status=outcome.status,
        source=outcome.event.source if outcome.event else None,
        id=outcome.event.id if outcome.event else None,
        field=outcome.field,
        reason=outcome.reason,
    )


def dead_letter_view(
    kept: StoredDeadLetter, *, shown_bytes: int | None = None, replays: Sequence[AuditEntry] = ()
) -> DeadLetterView:
    """The dead letter as the API shows it, with the first ``shown_bytes`` of its body, or all of it."""
    dead_letter = kept.dead_letter
    return DeadLetterView(
        id=kept.id,
        source=dead_letter.source,
        channel=dead_letter.channel,
        status=dead_letter.status,
        field=dead_letter.field,
        reason=dead_letter.reason,
        attempts=dead_letter.attempts,
        first_received_at=kept.first_received_at,
        last_received_at=dead_letter.received_at,
        headers=dict(dead_letter.headers),
        body=dead_letter.body[:shown_bytes].decode(errors="replace"),
        body_bytes=len(dead_letter.body),
        replayed_as=kept.replayed_as,
        replayed_at=kept.replayed_at,
        replayed_keys=["/".join(key) for key in kept.replayed_keys],
        replays=list(replays),
    )


SCHEMAS: dict[str, Any] = {
    "Event": Event,
    "EventPage": EventPage,
    "Result": Result,
    "Results": Results,
    "ValidationResponse": ValidationResponse,
    "FramePage": FramePage,
    "Rung": Notified,
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
    "FlowPage": FlowPage,
    "FlowInstanceDetails": FlowInstanceDetails,
    "FlowSummary": FlowSummary,
    "FlowIssuePage": FlowIssuePage,
    "Declarations": Declarations,
}
"""The OpenAPI name of each shape that an answer or a request can have."""
