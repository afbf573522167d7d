"""Flow instances: their legs, issues, verdicts and timelines, and summaries of many instances."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal, NamedTuple, get_args

import msgspec
from msgspec import Meta

from helios.model.events import Event
from helios.model.sources import Source

FlowStatus = Literal["open", "matched", "matched_late", "mismatched", "incomplete"]
STATUSES: tuple[FlowStatus, ...] = get_args(FlowStatus)
SETTLED: tuple[FlowStatus, ...] = ("matched", "matched_late", "mismatched", "incomplete")
MAX_ASSIGNEE_CHARS = 128

Assignee = Annotated[str, Meta(min_length=1, max_length=MAX_ASSIGNEE_CHARS, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A person or a team that works on a flow instance or an incident."""

PROBLEMS: tuple[FlowStatus, ...] = ("mismatched", "incomplete")
"""The verdicts of instances whose clouds do not agree, or of which an event is missing."""

IssueKind = Literal["missing", "late", "duplicate", "contradictory", "mismatch", "excess", "out_of_order", "gap"]
ISSUE_KINDS: tuple[IssueKind, ...] = get_args(IssueKind)

ResolutionState = Literal["unresolved", "reopened", "accepted", "written_off"]
"""What people decided about an instance. ``reopened``: decided, but later evidence has changed the instance."""

RESOLUTION_STATES: tuple[ResolutionState, ...] = get_args(ResolutionState)
NEED_SOMEBODY: tuple[ResolutionState, ...] = ("unresolved", "reopened")
"""The states of instances that nobody has resolved as they are."""

HARMLESS: tuple[IssueKind, ...] = ("late", "duplicate", "contradictory")
"""The issues that make no instance a problem by themselves. Every other issue is the cause of a verdict."""

LegState = Literal["present", "late", "pending", "missing"]


class FlowLeg(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one leg.

    Attributes:
        name: the name of the leg.
        source: the cloud that sends it; None if any cloud may, and none has.
        type: the event type.
        optional: whether the instance is complete without it.
        state: ``pending``: not received, or not all of its parts, before the deadline; or a rule waits for more of it.
            ``missing``: not received, or not all of its parts, after the deadline. ``late``: received after the window.
        parts: the number of its parts that have arrived: at most 1, unless the leg is declared with several.
        expected: the fewest parts with which the leg is complete; 0 if the leg is not expected, or if the number is
            hidden from the caller.
        event_id: the id of its first event.
        producer: the producer of that event.
        time: when that event happened in the cloud, UTC.
        received_at: when Helios received that event, UTC.
        fields: the payload's own scalar fields, as text.
        deliveries: the number of deliveries, duplicates and contradictions included.
    """

    name: str
    source: Source | None
    type: str
    optional: bool
    state: LegState
    parts: int
    expected: int
    event_id: str | None
    producer: str | None
    time: datetime | None
    received_at: datetime | None
    fields: dict[str, str]
    deliveries: int


class FlowIssue(msgspec.Struct, frozen=True, kw_only=True):
    """A problem of a flow instance.

    Attributes:
        kind: the kind of problem. ``excess``: a leg has more parts than expected. ``out_of_order``: an event happened
            before one that must precede it. ``gap``: numbers are absent from the sequence of a producer.
        legs: the names of the legs concerned.
        field: the field concerned; None if there is none.
        values: by leg, the value of the field, the seconds of lateness, or the number of deliveries; for
            ``contradictory``, the values by the number of the variant; for a ``mismatch`` of expressions, their values
            by expression; for ``missing`` and ``excess`` of a leg with several parts, the number of its parts by leg,
            and of those ``expected``; for ``gap``, the absent numbers by leg.
        detail: the issue in plain words.
    """

    kind: IssueKind
    legs: list[str]
    field: str | None
    values: dict[str, str]
    detail: str


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """The work on one flow instance so far.

    Attributes:
        state: the decision, and whether it still holds.
        assignee: the person who works on it.
        reason: why the last decision was made.
        version: the version of the instance that was decided on; later evidence has a later version.
        changed_at: when it was last changed, UTC.
        changed_by: the actor of that change.
    """

    state: ResolutionState
    assignee: str | None = None
    reason: str | None = None
    version: int | None = None
    changed_at: datetime
    changed_by: str


class FlowInstance(msgspec.Struct, frozen=True, kw_only=True):
    """A flow instance and its verdict.

    Attributes:
        flow: the name of the flow.
        key: the key of the instance.
        status: the verdict.
        amount: the amount of money, if a leg has one.
        currency: the currency of the amount, if a leg has one.
        opened_at: when Helios received its first event, UTC.
        deadline: until when Helios waits for its events, UTC; deferred while a cloud is silent.
        settled_at: since when the verdict has been final; None while the instance is open.
        updated_at: when Helios received its latest event, UTC.
        time_to_match_seconds: seconds from the first leg to the last; None unless the instance matched.
        legs: the legs in the order of their declaration.
        issues: the problems, if any.
        resolution: what people have decided about it; None: nobody has worked on it.
    """

    flow: str
    key: str
    status: FlowStatus
    amount: Decimal | None
    currency: str | None
    opened_at: datetime
    deadline: datetime
    settled_at: datetime | None
    updated_at: datetime
    time_to_match_seconds: float | None
    legs: list[FlowLeg]
    issues: list[FlowIssue]
    resolution: Resolution | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step in the timeline of a flow instance.

    Attributes:
        at: when, UTC, by Helios' clock.
        what: ``leg``: the first event of a leg arrived. ``duplicate``, ``contradictory``: a further event of a leg
            arrived. ``verdict``: the verdict or its issues changed.
        leg: the name of the leg, if any.
        source: the cloud that sent the event.
        event_id: the id of the event.
        producer: the producer of the event.
        version: the number of the verdict, from 1.
        status: the verdict.
        detail: the step in words.
    """

    at: datetime
    what: Literal["opened", "leg", "duplicate", "contradictory", "deadline", "verdict"]
    leg: str | None = None
    source: Source | None = None
    event_id: str | None = None
    producer: str | None = None
    version: int | None = None
    status: FlowStatus | None = None
    detail: str


class FlowInstanceDetails(FlowInstance, frozen=True, kw_only=True):
    """A flow instance with its events and its timeline.

    Attributes:
        events: the stored events, the first received first.
        timeline: the steps, in order of time.
        rebuilt: true if the instance was removed after its time, and follows again from its events; otherwise absent.
    """

    events: list[Event]
    timeline: list[Step]
    rebuilt: bool | msgspec.UnsetType = msgspec.UNSET


class KeyedIssue(FlowIssue, frozen=True, kw_only=True):
    """An issue and the flow instance to which it belongs."""

    flow: str
    key: str
    status: FlowStatus
    opened_at: datetime


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """An amount in one currency; ``currency`` is None if no leg has one."""

    currency: str | None
    amount: Decimal


class TrendPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The flow instances that opened in one bucket of a trend.

    Attributes:
        minute: the beginning of the bucket, UTC.
        settled: the number of instances with a final verdict.
        matched: the number of these on which the clouds agree.
    """

    minute: datetime
    settled: int
    matched: int


class FlowSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A summary of the flow instances that opened within a period.

    Attributes:
        position: the position of the live stream: ``by_status``, ``total`` and ``match_rate`` include its frames up to
            here and no later ones; if the period is over they include everything.
        since: the beginning of the period, UTC.
        until: the end of the period, UTC.
        total: the number of instances.
        by_status: the number of instances by verdict; every verdict is listed.
        match_rate: the share of matched and matched late instances among the settled ones; None when none is settled.
        oldest_open_seconds: the age of the oldest open instance; None when none is open.
        amount_at_risk: the amounts of mismatched and incomplete instances by currency; currencies are never added.
        seen_on: the number of instances with events from one cloud, two clouds, three clouds.
        issues: the number of instances by kind of issue; every kind is listed.
        silent: the clouds that are silent while others send; an instance that waits only for them stays open.
        trend: the period in at most MAX_TREND_POINTS buckets; buckets without instances are left out.
    """

    position: int
    since: datetime
    until: datetime
    total: int
    by_status: dict[FlowStatus, int]
    match_rate: float | None
    oldest_open_seconds: float | None
    amount_at_risk: list[Money]
    seen_on: dict[str, int]
    issues: dict[IssueKind, int]
    silent: list[Source]
    trend: list[TrendPoint]


MAX_TREND_POINTS = 60


class FlowFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which flow instances; None and empty mean any. ``since`` and ``until`` limit ``opened_at``.

    An instance matches if since <= opened_at < until.

    Attributes:
        flow: the instance belongs to one of these flows.
        status: its verdict is one of these.
        issue: it has an issue of one of these kinds.
        key: its key begins with this text.
        resolution: its resolution has one of these states.
        assignee: the person to whom it is assigned.
        cause: its verdict has the cause with this key.
    """

    flow: tuple[str, ...] = ()
    status: tuple[FlowStatus, ...] = ()
    issue: tuple[IssueKind, ...] = ()
    key: str | None = None
    resolution: tuple[ResolutionState, ...] = ()
    assignee: str | None = None
    cause: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Due(NamedTuple):
    """Which waiting instances of a flow are due for evaluation.

    Attributes:
        flow: the name of the flow.
        opened_by: instances that opened at this time or earlier,
        deferred_by: and that are not deferred, or not beyond this time; None: however long they are deferred.
    """

    flow: str
    opened_by: datetime
    deferred_by: datetime | None
