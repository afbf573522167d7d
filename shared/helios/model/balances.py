"""Manifests, in which producers say how many events they published, and the balance of these with what arrived."""

from datetime import datetime, timedelta
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from helios.model.access import EventLimits
from helios.model.events import MAX_NAME_CHARS, MAX_TEXT_CHARS
from helios.model.sources import Source

MANIFEST_TYPE = "helios.manifest"
"""The type of the CloudEvent that is a manifest."""

MAX_TYPES = 500
"""The most types in one manifest."""

MAX_PUBLISHED = 10**12
"""The most events of one type that a manifest may declare: sums of them fit into 64 bits."""

MAX_SKEW_SECONDS = 30

COUNTED_FOR = timedelta(days=1)
"""How long after its minute an event can still arrive to close a gap. A manifest of an older minute is not balanced."""


class PublishedEvents(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many events of one type were published in the minute.

    Attributes:
        type: the type of the events.
        published: how often an event was published, repetitions included.
        repeated: how many of these published an event once more, with the same id.
    """

    type: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
    published: Annotated[int, Meta(ge=0, le=MAX_PUBLISHED)]
    repeated: Annotated[int, Meta(ge=0, le=MAX_PUBLISHED)] = 0


class ManifestData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The payload of a manifest.

    Attributes:
        minute: the beginning of the minute, RFC 3339. The ``time`` of an event decides to which minute it belongs.
        events: what was published, by type.
        producer: whose events these are; absent: those of the producer of the manifest itself.
        publisher: the process that counted, if several publish as one producer; their counts are added up.
        revision: of several manifests of one publisher, the one with the greatest revision counts; of equal ones the
            one with the latest ``time``, then the one with the greatest id.
        skew_seconds: by how much the minute of the count and the ``time`` of the events may differ. 0 where the
            producer counts by the ``time`` that it gives its events.
        advisory: whether the count is only shown, and opens no incident: a metric of a cloud, for example.
    """

    minute: str
    events: Annotated[tuple[PublishedEvents, ...], Meta(min_length=1, max_length=MAX_TYPES)]
    producer: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)] | None = None
    publisher: Annotated[str, Meta(max_length=128)] = ""
    revision: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    skew_seconds: Annotated[int, Meta(ge=0, le=MAX_SKEW_SECONDS)] = 0
    advisory: bool = False


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest declares about one type: see ``ManifestData``.

    Attributes:
        time: the time of the event, UTC.
        id: the id of the event.
    """

    minute: datetime
    source: Source
    type: str
    producer: str
    publisher: str
    advisory: bool
    published: int
    repeated: int
    skew_seconds: int
    revision: int
    time: datetime
    id: str

    @property
    def identity(self) -> tuple[datetime, str, str, str, str, bool]:
        """Two manifests with the same identity count the same events: one replaces the other."""
        return (self.minute, self.source, self.type, self.producer, self.publisher, self.advisory)

    @property
    def rank(self) -> tuple[int, datetime, str]:
        """Of manifests with the same identity, the one with the greatest rank counts, whatever the order of arrival."""
        return (self.revision, self.time, self.id)


class Repeats(msgspec.Struct, frozen=True, kw_only=True):
    """How many deliveries repeated a stored event.

    Attributes:
        minute: the minute of the events' own time.
    """

    minute: datetime
    source: Source
    type: str
    number: int


class Arrivals(msgspec.Struct, frozen=True, kw_only=True):
    """How many events arrived that Postgres does not store.

    Attributes:
        received_at: the second of their receipt.
        time: the second of their own time.
    """

    received_at: datetime
    time: datetime
    source: Source
    type: str
    producer: str
    number: int


BalanceState = Literal["counting", "balanced", "missing", "extra", "advisory", "uncounted"]
BALANCE_STATES: tuple[BalanceState, ...] = get_args(BalanceState)


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What was published of one type in one minute, and what became of it.

    Every event that was published once is stored, rejected or missing:
    ``published`` - ``repeated`` = ``stored`` + ``rejected`` + ``missing`` - ``extra``.

    Attributes:
        minute: the beginning of the minute of the events' own time, UTC.
        source: where the events come from.
        type: their type.
        state: ``counting``: the grace period is not over. ``balanced``: everything arrived. ``missing``: fewer events
            arrived than were published. ``extra``: more. ``advisory``: there are advisory counts only. ``uncounted``:
            the manifest arrived more than a day after its minute.
        published: how often events were published, by the manifests; None: there are advisory counts only.
        repeated: how many of these were repetitions, by the manifests.
        advisory: the advisory count; None: there is none.
        stored: events that are stored, of the producers that sent manifests.
        duplicate: deliveries that repeated a stored event, sent by producers or by clouds.
        rejected: distinct deliveries that were rejected, and not replayed since.
        missing: events that were published and have not arrived; 0 during the grace period.
        extra: events that arrived and were not in a manifest.
        skew_seconds: the tolerance that the manifests declare.
        counted_at: when Helios last counted, UTC; None: not yet.
    """

    minute: datetime
    source: Source
    type: str
    state: BalanceState
    published: int | None = None
    repeated: int = 0
    advisory: int | None = None
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    missing: int = 0
    extra: int = 0
    skew_seconds: int = 0
    counted_at: datetime | None = None


class BalanceFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which balances; None and empty mean any.

    Attributes:
        state: they are in one of these states.
        since: their minute is at or after this.
        until: their minute is before this.
        limits: which events the caller may see.
    """

    state: tuple[BalanceState, ...] = ()
    source: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limits: EventLimits = EventLimits()


class MissingChange(msgspec.Struct, frozen=True, kw_only=True):
    """By how much the missing events of one minute, source and type became more, or fewer if negative."""

    minute: datetime
    source: Source
    type: str
    number: int
