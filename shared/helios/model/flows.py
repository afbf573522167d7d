"""How a story is told: its row, its legs and issues, and many stories summed up."""

from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple, get_args

import msgspec

from helios.model.events import Event, Source

FlowStatus = Literal["open", "matched", "matched_late", "mismatched", "incomplete"]
STATUSES: tuple[FlowStatus, ...] = get_args(FlowStatus)
SETTLED: tuple[FlowStatus, ...] = ("matched", "matched_late", "mismatched", "incomplete")
PROBLEMS: tuple[FlowStatus, ...] = ("mismatched", "incomplete")
"""The clouds do not agree, or one has not spoken in time."""

IssueKind = Literal["missing", "late", "duplicate", "contradictory", "mismatch"]
ISSUE_KINDS: tuple[IssueKind, ...] = get_args(IssueKind)

LegState = Literal["present", "late", "pending", "missing"]


class FlowLeg(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one leg.

    Attributes:
        name: of the leg.
        source: the cloud that tells of it; None while any may, and none has.
        type: the event type.
        optional: whether the story is complete without it.
        state: ``pending``: waited for. ``missing``: waited for in vain. ``late``: it came after the window.
        event_id: of the first event that told of it.
        time: when that happened there, UTC.
        received_at: when Helios heard of it, UTC.
        fields: the payload's own scalar fields, as text.
        deliveries: how often it was told, duplicates and contradictions included.
    """

    name: str
    source: Source | None
    type: str
    optional: bool
    state: LegState
    event_id: str | None
    time: datetime | None
    received_at: datetime | None
    fields: dict[str, str]
    deliveries: int


class FlowIssue(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a story.

    Attributes:
        kind: what.
        legs: which legs it concerns.
        field: which field; None when it is not about one.
        values: what each leg says, or how often; for ``contradictory``: each variant by its number.
        detail: the same in plain words.
    """

    kind: IssueKind
    legs: list[str]
    field: str | None
    values: dict[str, str]
    detail: str


class FlowInstance(msgspec.Struct, frozen=True, kw_only=True):
    """One story and its verdict.

    Attributes:
        flow: the flow's name.
        key: the story's.
        status: the verdict.
        amount: what it is about in money, if a leg says so.
        currency: in which money, if a leg says so.
        opened_at: when Helios first heard of it, UTC.
        deadline: until when it is waited for, UTC; longer while a silent cloud is the excuse.
        settled_at: since when the verdict has stood; None while it is open.
        updated_at: when Helios last heard of it, UTC.
        time_to_match_seconds: from the first leg to the last; None unless it matched.
        legs: in the order in which they are declared.
        issues: what is wrong, if anything.
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


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A moment of a story.

    Attributes:
        at: when, UTC, by Helios' clock.
        what: ``leg``: a leg was first told of. ``duplicate``, ``contradictory``: it was told of again. ``verdict``:
            something else follows than before.
        leg: which, if any.
        source: who told.
        event_id: the event's.
        version: the verdict's number, from 1.
        status: that verdict.
        detail: in words.
    """

    at: datetime
    what: Literal["opened", "leg", "duplicate", "contradictory", "deadline", "verdict"]
    leg: str | None = None
    source: Source | None = None
    event_id: str | None = None
    version: int | None = None
    status: FlowStatus | None = None
    detail: str


class FlowInstanceDetails(FlowInstance, frozen=True, kw_only=True):
    """One story with everything it was made from.

    Attributes:
        events: the stored events, first received first.
        timeline: what happened when.
    """

    events: list[Event]
    timeline: list[Step]


class KeyedIssue(FlowIssue, frozen=True, kw_only=True):
    """An issue and the story it belongs to."""

    flow: str
    key: str
    status: FlowStatus
    opened_at: datetime


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """An amount in one currency; ``currency`` is None where no leg says which."""

    currency: str | None
    amount: Decimal


class TrendPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The stories that began in one stretch of time.

    Attributes:
        minute: its beginning, UTC.
        settled: stories with a verdict.
        matched: those of them on which the clouds agree.
    """

    minute: datetime
    settled: int
    matched: int


class FlowSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The stories that began within a period, summed up.

    Attributes:
        position: of the live stream: ``by_status`` and what follows from it hold its frames up to here, and no later
            one; of a period that is over they hold everything.
        since: its beginning, UTC.
        until: its end, UTC.
        total: stories.
        by_status: how many have each verdict, every status named.
        match_rate: matched and matched late among the settled; None when none is settled.
        oldest_open_seconds: the age of the story that has been open longest; None when none is.
        amount_at_risk: the amounts of the mismatched and the incomplete, by currency; currencies are not added up.
        seen_on: how many stories one cloud, two clouds, three clouds have told of.
        issues: how many stories have each kind of issue, every kind named.
        silent: clouds that have fallen silent although others speak; what only they have not told of is not judged.
        trend: the period in at most MAX_TREND_POINTS stretches; those without stories are left out.
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
    """Which stories; None and empty mean any. ``since`` and ``until`` bound ``opened_at``: since <= it < until.

    Attributes:
        flow: of any of these flows.
        status: any of these verdicts.
        issue: with any of these kinds of issue.
        key: a beginning of the story's key.
    """

    flow: tuple[str, ...] = ()
    status: tuple[FlowStatus, ...] = ()
    issue: tuple[IssueKind, ...] = ()
    key: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Due(NamedTuple):
    """Which of a flow's waiting stories are to be judged.

    Attributes:
        flow: its name.
        opened_by: those that began then or earlier,
        deferred_by: and that are excused until then or less long, if at all; None: however long.
    """

    flow: str
    opened_by: datetime
    deferred_by: datetime | None
