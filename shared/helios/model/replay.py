"""Replay jobs: which stored events or dead letters are sent where once more, and how far that has come."""

from datetime import datetime
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from helios.errors import Rejected
from helios.model.audit import Action, AuditEntry
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import MAX_ID_CHARS, MAX_NAME_CHARS, EventFilter, Source, SourceOrUnknown

What = Literal["events", "dead_letters"]
TargetKind = Literal["relay", "webhook", "cloud", "ingest"]
"""``relay``: who watches. ``webhook``: a URL. ``cloud``: a topic or bus there. ``ingest``: Helios itself."""

State = Literal["running", "done", "cancelled", "failed"]

TARGETS: dict[What, tuple[TargetKind, ...]] = {
    "events": ("relay", "webhook", "cloud"),
    "dead_letters": ("ingest",),
}
"""What can be sent where: stored events need not be taken in again, and nobody else can read a dead letter."""

_EVENTS_ONLY = ("type", "order_id")
_DEAD_LETTERS_ONLY = ("status", "field", "reason")

MAX_EXAMPLES = 5

Time = Annotated[datetime, Meta(tz=True)]


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a job sends.

    Attributes:
        kind: what it is.
        url: of a webhook.
        cloud: whose topic or bus.
    """

    kind: TargetKind
    url: Annotated[str, Meta(max_length=2048)] | None = None
    cloud: Source | None = None


class ReplayFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which ones; None means any. ``since`` and ``until`` bound ``received_at``: since <= it < until.

    ``type`` and ``order_id`` are of events; ``status``, ``field`` and ``reason`` of dead letters.
    """

    source: SourceOrUnknown | None = None
    type: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] | None = None
    order_id: Annotated[str, Meta(max_length=MAX_ID_CHARS)] | None = None
    status: Literal["rejected"] | None = None
    field: str | None = None
    reason: str | None = None
    since: Time | None = None
    until: Time | None = None

    def events(self) -> EventFilter:
        """The events among them; no event has an unknown source."""
        if self.source == "unknown":
            raise Rejected("is of dead letters only", field="filter.source")
        return EventFilter(
            source=self.source, type=self.type, order_id=self.order_id, since=self.since, until=self.until
        )

    def dead_letters(self) -> DeadLetterFilter:
        """The dead letters among them that can be taken in again and were not."""
        return DeadLetterFilter(
            source=self.source,
            status="rejected",
            field=self.field,
            reason=self.reason,
            since=self.since,
            until=self.until,
            replayed=False,
        )


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job that somebody wants.

    Attributes:
        per_second: at most so many in a second.
        dry_run: only say what it would be.
    """

    what: What
    target: Target
    filter: ReplayFilter = ReplayFilter()
    per_second: Annotated[int, Meta(ge=1, le=10_000)] = 100
    dry_run: bool = False


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """The last one that was dealt with; those of a job are dealt with in this order."""

    received_at: datetime
    source: str
    id: str


class ReplayJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it is kept.

    Attributes:
        id: what marks all that it sends.
        filter: its ``until`` is never later than ``created_at``: what arrives meanwhile is no part of it.
        actor: asked for it.
        matching: how many there were when it began.
        checkpoint: where it stands; None: at the beginning.
        sent: that reached the target.
        failed: that the target will not take.
        skipped: dead letters that were dealt with otherwise meanwhile.
        last_error: what the target said last, when it refused or was away.
    """

    id: int
    what: What
    filter: ReplayFilter
    target: Target
    per_second: int
    actor: str
    state: State
    created_at: datetime
    finished_at: datetime | None = None
    matching: int
    checkpoint: Checkpoint | None = None
    sent: int = 0
    failed: int = 0
    skipped: int = 0
    last_error: str | None = None


class Replayed(NamedTuple):
    """What became of one that was sent.

    Attributes:
        state: ``failed``: the target will not take it, and ``reason`` says why. ``skipped``: it need not be sent.
    """

    state: Literal["sent", "failed", "skipped"]
    reason: str | None = None


SENT = Replayed("sent")


class Matching(msgspec.Struct, frozen=True, kw_only=True):
    """What a job would send.

    Attributes:
        matching: how many.
        oldest: ``received_at`` of the first; None if there is none.
        newest: and of the last.
        examples: the first MAX_EXAMPLES: ``source/id`` of events, ids of dead letters.
    """

    matching: int
    oldest: datetime | None
    newest: datetime | None
    examples: list[str]


def check(request: ReplayRequest) -> None:
    """Return if this is one job.

    Raises:
        Rejected: its parts do not fit together; the error names one.
    """
    target, where = request.target, request.filter
    if target.kind not in TARGETS[request.what]:
        raise Rejected(
            f"is no place for {request.what}: choose {', '.join(TARGETS[request.what])}", field="target.kind"
        )
    for name, kind in (("url", "webhook"), ("cloud", "cloud")):
        if (getattr(target, name) is not None) != (target.kind == kind):
            raise Rejected(f"belongs to the target {kind}, and to no other", field=f"target.{name}")
    foreign = _DEAD_LETTERS_ONLY if request.what == "events" else _EVENTS_ONLY
    for name in (*foreign, *(("source",) if request.what == "events" and where.source == "unknown" else ())):
        if getattr(where, name) is not None:
            raise Rejected(f"is not of {request.what}", field=f"filter.{name}")
    for name in ("type", "order_id", "field", "reason"):
        if "\0" in (getattr(where, name) or ""):
            raise Rejected("holds a NUL character", field=f"filter.{name}")
    if target.cloud and where.source != target.cloud:
        raise Rejected(f"must be {target.cloud}: a cloud gets back its own events", field="filter.source")


def started(job: ReplayJob) -> AuditEntry:
    """The line of the audit log for a job that begins."""
    where = msgspec.json.encode({"filter": _said(job.filter), "target": _said(job.target)}).decode()
    detail = f"{job.matching} {job.what}, {job.per_second} a second: {where}"
    return AuditEntry(at=job.created_at, actor=job.actor, action="replay_started", subject=_name(job), detail=detail)


def ended(job: ReplayJob, *, actor: str, at: datetime) -> AuditEntry:
    """The line of the audit log for a job that has ended."""
    action: Action = "replay_cancelled" if job.state == "cancelled" else "replay_finished"
    counts = f"{job.sent} sent, {job.failed} failed, {job.skipped} skipped of {job.matching}"
    error = f": {job.last_error}" if job.state == "failed" else ""
    return AuditEntry(at=at, actor=actor, action=action, subject=_name(job), detail=f"{job.state}: {counts}{error}")


def _name(job: ReplayJob) -> str:
    return f"replay job {job.id}"


def _said(value: msgspec.Struct) -> dict[str, object]:
    return {name: given for name, given in msgspec.structs.asdict(value).items() if given is not None}
