"""What can be sent again, where to, how fast, and how far it has come."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from helios.event import MAX_ID_CHARS, MAX_NAME_CHARS, LedgerSource

What = Literal["events", "dead_letters"]
State = Literal["running", "done", "cancelled", "failed"]

MAX_PER_SECOND = 1_000


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which stored events, or which dead letters, are to be sent again.

    Attributes:
        what: ``events``: to ``target``, in the order in which they were received. ``dead_letters``: through ingest
            once more, as if they had just arrived; those that contradict a stored event, or were replayed, are left out.
        source: only of this cloud.
        type: only events of this type.
        order_id: only events of this order.
        field: only dead letters that were rejected because of this field.
        since: received at or after this instant.
        until: received before this instant.
        target: an ``https://`` URL that takes CloudEvents 1.0 in structured mode, or an EventBridge bus by its ARN.
        per_second: most items a second.
        dry_run: count only.
    """

    what: What
    source: LedgerSource | None = None
    type: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] | None = None
    order_id: Annotated[str, Meta(max_length=MAX_ID_CHARS)] | None = None
    field: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = None
    until: Annotated[datetime, Meta(tz=True)] | None = None
    target: Annotated[str, Meta(max_length=2048)] | None = None
    per_second: Annotated[int, Meta(ge=1, le=MAX_PER_SECOND)] = 50
    dry_run: bool = False


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """A replay and its progress.

    Attributes:
        id: ascending; 0 for a dry run, of which nothing is kept.
        request: what was asked for.
        state: ``failed``: the target refused for good; ``error`` says why.
        requested_by: who asked.
        total: how many items there were when it was asked for.
        sent: items that the target has taken, or that became events.
        refused: dead letters that were rejected again.
        cursor: where to go on; opaque.
    """

    id: int
    request: ReplayRequest
    state: State
    requested_by: str
    requested_at: datetime
    updated_at: datetime
    total: int
    sent: int = 0
    refused: int = 0
    cursor: str | None = None
    error: str | None = None


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the audit log: who did what to what."""

    at: datetime
    who: str
    action: Literal["replay_begun", "replay_cancelled", "dead_letter_replayed"]
    subject: str
    detail: str
