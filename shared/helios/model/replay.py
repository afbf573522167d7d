"""Replay jobs: which stored events or dead letters to send again, to which target, and the progress so far."""

from datetime import datetime
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from helios.errors import Rejected
from helios.model.audit import Action, AuditEntry
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import MAX_ID_CHARS, MAX_NAME_CHARS, EventFilter
from helios.model.sources import BuiltIn, SourceName

What = Literal["events", "dead_letters"]
TargetKind = Literal["relay", "webhook", "cloud", "ingest"]
"""``relay``: the connected clients. ``webhook``: a URL. ``cloud``: a topic or bus of a cloud. ``ingest``: Helios."""

State = Literal["running", "done", "cancelled", "failed"]

TARGETS: dict[What, tuple[TargetKind, ...]] = {
    "events": ("relay", "webhook", "cloud"),
    "dead_letters": ("ingest",),
}
"""The targets of each kind of item: stored events need no ingest, and only ingest can read a dead letter."""

_EVENTS_ONLY = ("type", "order_id")
_DEAD_LETTERS_ONLY = ("status", "field", "reason")

MAX_EXAMPLES = 5

HIDDEN = "[hidden]"
"""Stands for the parts of a webhook's URL that may be a secret."""

Time = Annotated[datetime, Meta(tz=True)]


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The target of a job.

    Attributes:
        kind: the kind of target.
        url: the URL of a webhook.
        cloud: the cloud of a topic or bus.
    """

    kind: TargetKind
    url: Annotated[str, Meta(max_length=2048)] | None = None
    cloud: BuiltIn | None = None


class ReplayFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which items; None means any. ``since`` and ``until`` limit ``received_at``: since <= received_at < until.

    ``type`` and ``order_id`` apply to events; ``status``, ``field`` and ``reason`` apply to dead letters.
    """

    source: SourceName | None = None
    type: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] | None = None
    order_id: Annotated[str, Meta(max_length=MAX_ID_CHARS)] | None = None
    status: Literal["rejected"] | None = None
    field: str | None = None
    reason: str | None = None
    since: Time | None = None
    until: Time | None = None

    def events(self) -> EventFilter:
        """The filter for events. No event has an unknown source."""
        if self.source == "unknown":
            raise Rejected("applies to dead letters only", field="filter.source")
        return EventFilter(
            source=self.source, type=self.type, order_id=self.order_id, since=self.since, until=self.until
        )

    def dead_letters(self) -> DeadLetterFilter:
        """The filter for rejected dead letters that have not been replayed."""
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
    """The request for a job.

    Attributes:
        per_second: the maximum number of items sent per second.
        dry_run: return what the job would send, and start nothing.
    """

    what: What
    target: Target
    filter: ReplayFilter = ReplayFilter()
    per_second: Annotated[int, Meta(ge=1, le=10_000)] = 100
    dry_run: bool = False


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """The last item that was processed. A job processes its items in the order of their checkpoints."""

    received_at: datetime
    source: str
    id: str
    producer: str = ""


class ReplayJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it is stored.

    Attributes:
        id: the id of the job, which marks everything that it sends.
        filter: the items; ``until`` is never after ``created_at``, so the job excludes what arrives while it runs.
        actor: the user who requested the job.
        matching: the number of items when the job started.
        checkpoint: the last processed item; None: none yet.
        sent: the number of items that reached the target.
        failed: the number of items that the target refused permanently.
        skipped: the number of dead letters that were replayed in another way meanwhile.
        last_error: the last answer of a target that refused an item or was unavailable.
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
    """The result of sending one item.

    Attributes:
        state: ``failed``: the target refused the item permanently. ``skipped``: the item need not be sent.
        reason: why the item failed or was skipped.
    """

    state: Literal["sent", "failed", "skipped"]
    reason: str | None = None


SENT = Replayed("sent")


class Matching(msgspec.Struct, frozen=True, kw_only=True):
    """The items that a job would send.

    Attributes:
        matching: the number of items.
        oldest: ``received_at`` of the first item; None if there is none.
        newest: ``received_at`` of the last item; None if there is none.
        examples: the first MAX_EXAMPLES items: ``source/id`` of events, ids of dead letters.
    """

    matching: int
    oldest: datetime | None
    newest: datetime | None
    examples: list[str]


def check(request: ReplayRequest) -> None:
    """Return if the parts of a request fit together.

    Raises:
        Rejected: they do not; the error names a field.
    """
    target, where = request.target, request.filter
    if target.kind not in TARGETS[request.what]:
        raise Rejected(f"can't receive {request.what}: use {' or '.join(TARGETS[request.what])}", field="target.kind")
    for name, kind in (("url", "webhook"), ("cloud", "cloud")):
        if (getattr(target, name) is not None) != (target.kind == kind):
            raise Rejected(f"is required for a {kind} target, and not allowed for others", field=f"target.{name}")
    foreign = _DEAD_LETTERS_ONLY if request.what == "events" else _EVENTS_ONLY
    for name in (*foreign, *(("source",) if request.what == "events" and where.source == "unknown" else ())):
        if getattr(where, name) is not None:
            raise Rejected(f"does not apply to {request.what}: leave it out", field=f"filter.{name}")
    for name in ("type", "order_id", "field", "reason"):
        if "\0" in (getattr(where, name) or ""):
            raise Rejected("contains a NUL character: leave it out", field=f"filter.{name}")
    if target.cloud and where.source != target.cloud:
        raise Rejected(f"must be {target.cloud}: a cloud can only receive its own events", field="filter.source")


def started(job: ReplayJob) -> AuditEntry:
    """The audit log entry for a job that starts."""
    where = msgspec.json.encode({"filter": _set_fields(job.filter), "target": _set_fields(job.target)}).decode()
    detail = f"{job.matching} {job.what}, {job.per_second} per second: {where}"
    return AuditEntry(at=job.created_at, actor=job.actor, action="replay_started", subject=_name(job), detail=detail)


def ended(job: ReplayJob, *, actor: str, at: datetime) -> AuditEntry:
    """The audit log entry for a job that has ended."""
    action: Action = "replay_cancelled" if job.state == "cancelled" else "replay_finished"
    counts = f"{job.sent} sent, {job.failed} failed, {job.skipped} skipped of {job.matching}"
    error = f": {job.last_error}" if job.state == "failed" else ""
    return AuditEntry(at=at, actor=actor, action=action, subject=_name(job), detail=f"{job.state}: {counts}{error}")


def without_secrets(job: ReplayJob) -> ReplayJob:
    """The job for callers who may only read: of a webhook's URL, the scheme, host and port."""
    if job.target.url is None:
        return job
    target = msgspec.structs.replace(job.target, url=_public_url(job.target.url))
    return msgspec.structs.replace(job, target=target)


def entry_without_secrets(entry: AuditEntry) -> AuditEntry:
    """The audit log entry for callers who may only read; see ``without_secrets``."""
    if entry.action != "replay_started":
        return entry
    summary, _, where = entry.detail.partition(": ")
    try:
        fields = msgspec.json.decode(where, type=dict[str, dict[str, object]])
    except msgspec.MsgspecError:
        return msgspec.structs.replace(entry, detail=f"{summary}: {HIDDEN}")
    if url := fields.get("target", {}).get("url"):
        fields["target"]["url"] = _public_url(str(url))
        entry = msgspec.structs.replace(entry, detail=f"{summary}: {msgspec.json.encode(fields).decode()}")
    return entry


def _public_url(url: str) -> str:
    """The URL without user, path and query: Slack's webhooks have their secret in the path, others in the query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return url if url in {origin, f"{origin}/"} else f"{origin}/{HIDDEN}"


def _name(job: ReplayJob) -> str:
    return f"replay job {job.id}"


def _set_fields(struct: msgspec.Struct) -> dict[str, object]:
    return {name: value for name, value in msgspec.structs.asdict(struct).items() if value is not None}
