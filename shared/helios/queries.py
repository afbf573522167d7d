"""What can be asked of the store, and the shapes of its answers."""

from datetime import datetime, timedelta
from typing import Generic, Literal, NamedTuple, TypeVar

import msgspec

from helios.errors import Rejected
from helios.event import Key, LedgerSource, Source
from helios.ledger import DeadLetter
from helios.reconcile.rows import FlowStatus, IssueKind
from helios.tokens import Token

T = TypeVar("T")

LAST_DAY = timedelta(hours=24)


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger summed up.

    Attributes:
        events_by_source: stored events of each cloud, every cloud named.
        stored: all stored events.
        duplicate: deliveries of events already stored.
        contradictory: deliveries that gave a stored event other content.
        rejected: deliveries that could not be read.
        last_24h: events stored in the last 24 hours.
        position: of the stream at that moment.
    """

    events_by_source: dict[Source, int]
    stored: int
    duplicate: int
    contradictory: int
    rejected: int
    last_24h: int
    position: int


class MinuteCount(msgspec.Struct, frozen=True, kw_only=True):
    """One minute of the ledger, all types of a cloud together; ``minute`` is of ``received_at``, UTC."""

    minute: datetime
    source: LedgerSource
    stored: int
    duplicate: int
    contradictory: int
    rejected: int


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events; None means any. ``since`` and ``until`` bound ``received_at``: since <= it < until."""

    source: Source | None = None
    type: str | None = None
    order_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class DeadLetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters; None means any.

    Attributes:
        since: received (last) at or after this.
        until: received (first) before this.
        replayed: whether it was taken in again with success.
    """

    source: str | None = None
    status: str | None = None
    field: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    replayed: bool | None = None


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
        excused_by: and that are excused until then or less long, if at all; None: however long.
    """

    flow: str
    opened_by: datetime
    excused_by: datetime | None


ReplayedAs = Literal["stored", "duplicate"]


class KeptDeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter as it is kept.

    Attributes:
        id: ascending in the order of first arrival.
        first_received_at: when it first came, UTC.
        letter: what came.
        replayed_as: what its replay became; None when it was not replayed with success.
        replayed_at: when, UTC.
        replayed_keys: the events that it became.
    """

    id: int
    first_received_at: datetime
    letter: DeadLetter
    replayed_as: ReplayedAs | None = None
    replayed_at: datetime | None = None
    replayed_keys: list[Key] = []

    @property
    def subject(self) -> str:
        """What the audit log calls it."""
        return f"dead letter {self.id}"


class DeadLetterGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters with the same thing wrong with them.

    Attributes:
        count: how many letters, however often each was delivered.
        first: when the first of them came first, UTC.
        last: when one of them came last.
        example_id: the id of the newest.
    """

    source: LedgerSource
    status: Literal["rejected", "contradictory"]
    field: str
    reason: str
    count: int
    first: datetime
    last: datetime
    example_id: int


Action = Literal[
    "dead_letter_replayed",
    "replay_started",
    "replay_cancelled",
    "replay_finished",
    "token_created",
    "token_revoked",
]


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the audit log: who did what to what."""

    at: datetime
    who: str
    action: Action
    subject: str
    detail: str


def token_created(token: Token, who: str) -> Audited:
    """The line for a token that was made."""
    detail = f"{', '.join(token.scopes)}, until {token.expires_at or 'it is revoked'}"
    return Audited(at=token.created_at, who=who, action="token_created", subject=f"token {token.name}", detail=detail)


def token_revoked(name: str, who: str, at: datetime) -> Audited:
    """The line for a token that was taken back."""
    return Audited(at=at, who=who, action="token_revoked", subject=f"token {name}", detail="")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Some of the answers; ``next_cursor`` asks for the ones that follow, and is None at the end."""

    items: list[T]
    next_cursor: str | None


_Position = TypeVar("_Position")


def encode_cursor(position: object) -> str:
    """A position in an ordering as opaque text for a URL."""
    return msgspec.json.encode(position).hex()


def decode_cursor(cursor: str, type_: type[_Position]) -> _Position:
    """The position that ``encode_cursor`` was given.

    Raises:
        Rejected: the text is no cursor of this ordering.
    """
    try:
        return msgspec.json.decode(bytes.fromhex(cursor), type=type_)
    except (ValueError, msgspec.MsgspecError) as error:
        raise Rejected("is not a cursor: pass next_cursor of the page before, unchanged", field="after") from error
