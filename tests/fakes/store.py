"""The ports in dictionaries: a complete Helios in one process, for experiments and quick tests."""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta

import msgspec

from helios.errors import Retryable
from helios.model.audit import Action, AuditEntry
from helios.model.counts import LAST_DAY, Count, MinuteCount, Totals
from helios.model.dead_letters import DeadLetter, DeadLetterFilter, DeadLetterGroup, ReplayedAs, StoredDeadLetter
from helios.model.events import SOURCES, Event, EventFilter, Key, SourceOrUnknown
from helios.model.flows import Due, FlowFilter
from helios.model.paging import Page, decode_cursor, encode_cursor
from helios.model.stream import Consumer, Frame, Parked, StreamEvents, StreamFrame, StreamWindow
from helios.ports.pending import Pending
from helios.reconciliation.record import FlowCount, FlowKey, FlowRecord, FlowSums, add, slot_of

CountKey = tuple[datetime, str, str]


class MemoryDedupeCache:
    """Implements ``DedupeCache`` with a set whose keys never expire."""

    failures = 0

    def __init__(self) -> None:
        self.keys: set[Key] = set()

    def lookup(self, keys: Collection[Key]) -> set[Key]:
        """The keys among these that are in the cache."""
        return self.keys & set(keys)

    def add(self, keys: Collection[Key]) -> None:
        """Add keys of committed events."""
        self.keys |= set(keys)

    def probe(self) -> None:
        """Always succeeds."""

    def close(self) -> None:
        """Does nothing; there are no resources to release."""


class _State(msgspec.Struct):
    events: dict[Key, Event] = {}
    counts: dict[CountKey, Count] = {}
    dead_letters: dict[str, StoredDeadLetter] = {}
    audit_entries: list[AuditEntry] = []
    frames: list[StreamFrame] = []
    stored: dict[int, list[Key]] = {}
    position: int = 0
    flows: dict[FlowKey, FlowRecord] = {}
    flow_counts: dict[tuple[datetime, str, str, str], FlowCount] = {}


class MemoryStore:
    """Implements ``EventStore`` and both readers. Transactions run one at a time and roll back on an error."""

    def __init__(self) -> None:
        self._state = _State()
        self._lock = threading.RLock()
        self.consumers: dict[str, int] = {}
        self.seen_at: dict[str, datetime] = {}
        self.parked: defaultdict[str, dict[Key, str]] = defaultdict(dict)
        self.turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @contextmanager
    def transaction(self) -> Iterator["MemoryUnitOfWork"]:
        """Begin a transaction. Its writes become visible when the block ends without an error."""
        with self._lock:
            draft = _State(
                events=dict(self._state.events),
                counts=deepcopy(self._state.counts),
                dead_letters=dict(self._state.dead_letters),
                audit_entries=list(self._state.audit_entries),
                frames=list(self._state.frames),
                stored=dict(self._state.stored),
                position=self._state.position,
                flows=dict(self._state.flows),
                flow_counts=dict(self._state.flow_counts),
            )
            yield MemoryUnitOfWork(draft)
            self._state = draft

    def remove_frames(self, *, before: datetime, at_last: datetime, limit: int) -> int:
        """Remove old frames that every consumer has passed, and very old frames in any case. Return the number."""
        with self._lock:
            slowest = min(self.consumers.values(), default=self._state.position)
            old = [
                frame
                for frame in self._state.frames
                if frame.published_at < (before if frame.position <= slowest else at_last)
            ][:limit]
            self._state.frames = self._state.frames[len(old) :]
            return len(old)

    @property
    def stream(self) -> list[StreamFrame]:
        """The frames of the outbox."""
        return self._state.frames

    def stored_by(self, position: int) -> list[Event]:
        """The events that the batch of this frame stored."""
        return [self._state.events[key] for key in self._state.stored[position]]

    @property
    def position(self) -> int:
        """The latest position of a frame."""
        return self._state.position

    @property
    def counts(self) -> list[Count]:
        """The counts by minute, source and type."""
        return list(self._state.counts.values())

    def totals(self, now: datetime, *, only_numbered: bool = False) -> Totals:
        """The totals of all counts."""
        counts = self.counts
        return Totals(
            events_by_source={
                source: sum(count.stored for count in counts if count.source == source) for source in SOURCES
            },
            stored=sum(count.stored for count in counts),
            duplicate=sum(count.duplicate for count in counts),
            contradictory=sum(count.contradictory for count in counts),
            rejected=sum(count.rejected for count in counts),
            last_24h=sum(count.stored for count in counts if count.minute >= now - LAST_DAY),
            position=self.position,
        )

    def minutes(self, since: datetime) -> list[MinuteCount]:
        """The counts from the minute ``since`` on, sorted by minute and source."""
        return _minutes(self.counts, since)

    def events(self, where: EventFilter, *, after: str | None, limit: int) -> Page[Event]:
        """Events, newest ``received_at`` first."""
        position = decode_cursor(after, tuple[datetime, str, str]) if after else None
        events = sorted(
            (event for event in self._state.events.values() if _matches(event, where)),
            key=_position,
            reverse=True,
        )
        following = [event for event in events if position is None or _position(event) < position]
        more = len(following) > limit
        return Page(
            items=following[:limit],
            next_cursor=encode_cursor(_position(following[limit - 1])) if more else None,
        )

    def event(self, key: Key) -> Event | None:
        """One event, or None."""
        return self._state.events.get(key)

    def dead_letters(self, where: DeadLetterFilter, *, after: str | None, limit: int) -> Page[StoredDeadLetter]:
        """Dead letters, newest first."""
        before = decode_cursor(after, int) if after else None
        following = [
            stored
            for stored in sorted(self._state.dead_letters.values(), key=lambda stored: stored.id, reverse=True)
            if _matches_dead_letter(stored, where) and (before is None or stored.id < before)
        ]
        more = len(following) > limit
        return Page(items=following[:limit], next_cursor=encode_cursor(following[limit - 1].id) if more else None)

    def dead_letter(self, number: int) -> StoredDeadLetter | None:
        """One dead letter by its id, or None."""
        return next((stored for stored in self._state.dead_letters.values() if stored.id == number), None)

    def dead_letter_groups(self, where: DeadLetterFilter, *, limit: int) -> list[DeadLetterGroup]:
        """Dead letters grouped by fault, most frequent first."""
        groups: defaultdict[tuple[str, ...], list[StoredDeadLetter]] = defaultdict(list)
        for stored in self._state.dead_letters.values():
            if _matches_dead_letter(stored, where):
                dead_letter = stored.dead_letter
                groups[dead_letter.source, dead_letter.status, dead_letter.field, dead_letter.reason].append(stored)
        return sorted(map(_group, groups.values()), key=lambda group: (group.count, group.example_id), reverse=True)[
            :limit
        ]

    def audit_log(
        self, *, action: Action | None = None, subject: str | None = None, after: str | None = None, limit: int
    ) -> Page[AuditEntry]:
        """The audit log, or its entries of one action or subject, newest first."""
        before = decode_cursor(after, int) if after else None
        following = [
            (number, entry)
            for number, entry in reversed([*enumerate(self._state.audit_entries)])
            if action in {None, entry.action}
            and subject in {None, entry.subject}
            and (before is None or number < before)
        ]
        more = len(following) > limit
        return Page(
            items=[entry for _, entry in following[:limit]],
            next_cursor=encode_cursor(following[limit - 1][0]) if more else None,
        )

    def events_in_order(self, where: EventFilter) -> list[Event]:
        """Events in order of receipt."""
        return sorted((event for event in self._state.events.values() if _matches(event, where)), key=_position)

    def dead_letters_in_order(self, where: DeadLetterFilter) -> list[StoredDeadLetter]:
        """Dead letters in order of receipt."""
        return [stored for stored in self._state.dead_letters.values() if _matches_dead_letter(stored, where)]

    def flows(self, where: FlowFilter, *, after: str | None, limit: int) -> Page[FlowRecord]:
        """Flow instances, newest ``opened_at`` first."""
        position = decode_cursor(after, tuple[datetime, str, str]) if after else None
        records = sorted(
            (record for record in self._state.flows.values() if _matches_flow(record, where)),
            key=_opening,
            reverse=True,
        )
        following = [record for record in records if position is None or _opening(record) < position]
        more = len(following) > limit
        return Page(
            items=following[:limit], next_cursor=encode_cursor(_opening(following[limit - 1])) if more else None
        )

    def flow(self, key: FlowKey) -> FlowRecord | None:
        """One flow instance, or None."""
        return self._state.flows.get(key)

    def flow_counts(self, flow: str | None, *, since: datetime, until: datetime, bucket: timedelta) -> list[FlowCount]:
        """The sums of flow instances that opened within a period, in buckets."""
        sums: dict[tuple[datetime, str, str, str], FlowCount] = {}
        for count in self._state.flow_counts.values():
            if since <= count.minute < until and flow in {None, count.flow}:
                begin = slot_of(since) + (count.minute - slot_of(since)) // bucket * bucket
                add(sums, msgspec.structs.replace(count, minute=begin))
        return [sums[slot] for slot in sorted(sums)]

    def flow_sums(self, flow: str | None, *, since: datetime, until: datetime, bucket: timedelta) -> FlowSums:
        """The same sums, with the position of the last frame that they include."""
        with self._lock:
            counts = self.flow_counts(flow, since=since, until=until, bucket=bucket)
            return FlowSums(position=self.position, counts=counts, unnumbered={})

    def oldest_open(self, flows: Collection[str]) -> datetime | None:
        """The opening time of the oldest open instance of these flows. None if no instance is open."""
        records = self._state.flows.values()
        return min(
            (record.opened_at for record in records if record.status == "open" and record.flow in flows), default=None
        )

    def probe(self) -> None:
        """Always succeeds."""


class MemoryOutbox:
    """Implements ``Outbox``, ``Notifier`` and ``Listener`` on a ``MemoryStore``. Frames have their position at once."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._notified = threading.Event()

    def number(self) -> None:
        """Does nothing; frames already have positions."""

    def frames(self, *, after: int, limit: int) -> list[StreamFrame]:
        """The frames after a position, in order."""
        return [frame for frame in self._store.stream if frame.position > after][:limit]

    def events(self, *, after: int, limit: int) -> list[StreamEvents]:
        """The events that each of these frames stored, complete."""
        return [
            StreamEvents(position=frame.position, events=self._store.stored_by(frame.position))
            for frame in self.frames(after=after, limit=limit)
        ]

    def window(self) -> StreamWindow:
        """The oldest available position and the latest one."""
        frames = self._store.stream
        return StreamWindow(oldest=frames[0].position if frames else None, position=self._store.position)

    def consumers(self, *expected: str) -> list[Consumer]:
        """Every consumer with an offset, and the expected ones, sorted by name."""
        return [self._consumer(name) for name in sorted({*self._store.consumers, *expected})]

    def _consumer(self, name: str) -> Consumer:
        position = self._store.consumers.get(name, 0)
        waiting = self.frames(after=position, limit=1)
        return Consumer(
            name=name,
            behind=self._store.position - position,
            waiting_since=waiting[0].published_at if waiting else None,
            seen_at=self._store.seen_at.get(name),
            parked=len(self._store.parked[name]),
        )

    @contextmanager
    def offset(self, consumer: str) -> Iterator["MemoryConsumerOffset"]:
        """This consumer's offset. A second caller with the same name waits until the first block ends."""
        with self._store.turns[consumer]:
            offset = MemoryConsumerOffset(self._store, consumer)
            yield offset
            self._store.consumers[consumer] = offset.position
            self._store.parked[consumer] = offset.refused
            self._store.seen_at[consumer] = datetime.now(UTC)

    def notify(self) -> None:
        """Wake the listener."""
        self._notified.set()

    def wait(self, seconds: float) -> None:
        """Return after a notification or after ``seconds``."""
        self._notified.wait(seconds)
        self._notified.clear()

    def close(self) -> None:
        """Wake the listener a last time."""
        self._notified.set()


class MemorySink:
    """Implements ``EventSink`` with a list.

    Attributes:
        sent: the events sent, in order.
        away: True makes every call fail.
        refuses: the event types that it always refuses.
    """

    def __init__(self) -> None:
        self.sent: list[Event] = []
        self.away = False
        self.refuses: set[str] = set()

    def send(self, events: Sequence[Event]) -> list[Parked]:
        """Store the events in ``sent``."""
        self.probe()
        self.sent += [event for event in events if event.type not in self.refuses]
        return [Parked(key=event.key, reason=f"no {event.type} here") for event in events if event.type in self.refuses]

    def probe(self) -> None:
        """Succeed unless ``away`` is set."""
        if self.away:
            raise Retryable("the sink in memory is away")

    def close(self) -> None:
        """Does nothing; there are no resources to release."""


class MemoryConsumerOffset:
    """Implements ``ConsumerOffset``."""

    def __init__(self, store: MemoryStore, consumer: str) -> None:
        self._store = store
        self.position = store.consumers.setdefault(consumer, 0)
        self.refused = dict(store.parked[consumer])

    def commit(self, position: int) -> None:
        """Set the offset. Every frame up to this position is processed."""
        self.position = position

    def park(self, refused: Sequence[Parked]) -> None:
        """Store the events that the sink refused for good, with the reason."""
        self.refused |= {event.key: event.reason for event in refused}

    def parked(self, *, after: Key | None, limit: int) -> list[Event]:
        """The parked events after this key, sorted by key."""
        keys = [key for key in sorted(self.refused) if after is None or key > after]
        events = (self._store.event(key) for key in keys[:limit])
        return [event for event in events if event]

    def release(self, keys: Collection[Key]) -> None:
        """Remove these keys from the parked events."""
        for key in keys:
            self.refused.pop(key, None)


class MemoryUnitOfWork:
    """Implements ``UnitOfWork`` on a draft of the state."""

    def __init__(self, draft: _State) -> None:
        self.events = MemoryEventWriter(draft)
        self.counts = MemoryCountWriter(draft)
        self.dead_letters = MemoryDeadLetterWriter(draft)
        self.flows = MemoryFlowWriter(draft)
        self.stream = MemoryStreamWriter(draft)
        self.audit = MemoryAuditWriter(draft)
        self._draft = draft

    def sync(self) -> None:
        """Does nothing; every statement has already ended."""

    @contextmanager
    def trial(self) -> Iterator[None]:
        """A block whose writes are undone at its end."""
        before = deepcopy(msgspec.structs.asdict(self._draft))
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(self._draft, name, value)


class _Writer:
    def __init__(self, draft: _State) -> None:
        self._draft = draft


class MemoryEventWriter(_Writer):
    """Implements ``EventWriter``."""

    def insert(self, events: Sequence[Event]) -> Pending[set[Key]]:
        """Store the events that are new."""
        new = {event.key: event for event in events if event.key not in self._draft.events}
        self._draft.events |= new
        return Pending(lambda: set(new))

    def digests(self, keys: Collection[Key]) -> dict[Key, str]:
        """The content digest of each stored event among the keys."""
        return {key: event.digest for key, event in self.get(keys).items()}

    def get(self, keys: Collection[Key]) -> dict[Key, Event]:
        """The stored events among the keys."""
        return {key: self._draft.events[key] for key in keys if key in self._draft.events}


class MemoryCountWriter(_Writer):
    """Implements ``CountWriter``."""

    def add(self, counts: Sequence[Count]) -> None:
        """Add to the counts of each minute."""
        for count in counts:
            key = (count.minute, count.source, count.type)
            self._draft.counts.setdefault(key, Count(minute=key[0], source=count.source, type=key[2])).add(count)

    def minutes(self, since: datetime) -> list[MinuteCount]:
        """The counts from the minute ``since`` on, sorted by minute and source."""
        return _minutes(self._draft.counts.values(), since)


class MemoryDeadLetterWriter(_Writer):
    """Implements ``DeadLetterWriter``."""

    def add(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Store dead letters. One whose fingerprint is known adds to the attempts of the stored one."""
        for dead_letter in dead_letters:
            known = self._draft.dead_letters.get(dead_letter.fingerprint)
            if known is None:
                stored = StoredDeadLetter(
                    id=len(self._draft.dead_letters) + 1,
                    first_received_at=dead_letter.received_at,
                    dead_letter=dead_letter,
                )
            else:
                repeated = msgspec.structs.replace(
                    known.dead_letter,
                    attempts=known.dead_letter.attempts + dead_letter.attempts,
                    received_at=max(known.dead_letter.received_at, dead_letter.received_at),
                )
                stored = msgspec.structs.replace(known, dead_letter=repeated)
            self._draft.dead_letters[dead_letter.fingerprint] = stored

    def replayed(self, number: int) -> list[Key] | None:
        """The events that the replay of a dead letter became; None if no replay has succeeded."""
        for stored in self._draft.dead_letters.values():
            if stored.id == number and stored.replayed_at is not None:
                return stored.replayed_keys
        return None

    def mark_replayed(self, number: int, replayed_as: ReplayedAs, keys: Sequence[Key], at: datetime) -> None:
        """Record the result of a dead letter's replay. The result of an earlier replay is never overwritten."""
        for fingerprint, stored in self._draft.dead_letters.items():
            if stored.id == number and stored.replayed_at is None:
                outcome = {"replayed_as": replayed_as, "replayed_at": at, "replayed_keys": list(keys)}
                self._draft.dead_letters[fingerprint] = msgspec.structs.replace(stored, **outcome)


class MemoryAuditWriter(_Writer):
    """Implements ``AuditWriter``."""

    def add(self, entry: AuditEntry) -> None:
        """Add an entry."""
        self._draft.audit_entries.append(entry)


class MemoryStreamWriter(_Writer):
    """Implements ``StreamWriter``."""

    def publish(self, frame: Frame, keys: Sequence[Key]) -> None:
        """Append a frame to the outbox, with the keys of all events that were stored."""
        self._draft.position += 1
        self._draft.stored[self._draft.position] = list(keys)
        self._draft.frames.append(
            StreamFrame(
                position=self._draft.position,
                published_at=datetime.now(UTC),
                **msgspec.structs.asdict(frame),
            )
        )


class MemoryFlowWriter(_Writer):
    """Implements ``FlowWriter``."""

    def find(self, keys: Collection[FlowKey]) -> Pending[dict[FlowKey, FlowRecord]]:
        """The stored instances among the keys."""
        return Pending(lambda: {key: self._draft.flows[key] for key in keys if key in self._draft.flows})

    def overdue(self, due: Sequence[Due], *, limit: int) -> list[FlowRecord]:
        """Open instances that are due, in order of opening."""
        due_by_flow = {each.flow: each for each in due}
        waiting = sorted((record for record in self._draft.flows.values() if record.waiting), key=_opening)
        return [
            record for record in waiting if record.flow in due_by_flow and _is_due(record, due_by_flow[record.flow])
        ][:limit]

    def write(self, records: Sequence[FlowRecord]) -> Pending[set[FlowKey]]:
        """Write instances. No other writer runs, so none is refused."""
        self._draft.flows |= {record.identity: record for record in records}
        return Pending(set)

    def count(self, counts: Sequence[FlowCount]) -> None:
        """Add to the sums of instances."""
        for count in counts:
            add(self._draft.flow_counts, count)


def _minutes(counts: Iterable[Count], since: datetime) -> list[MinuteCount]:
    sums: dict[tuple[datetime, SourceOrUnknown], list[int]] = {}
    for count in counts:
        if count.minute >= since:
            of_type = (count.stored, count.duplicate, count.contradictory, count.rejected)
            previous = sums.get((count.minute, count.source), (0, 0, 0, 0))
            sums[count.minute, count.source] = [left + right for left, right in zip(previous, of_type, strict=True)]
    return [
        MinuteCount(
            minute=minute,
            source=source,
            stored=stored,
            duplicate=duplicate,
            contradictory=contradictory,
            rejected=rejected,
        )
        for (minute, source), (stored, duplicate, contradictory, rejected) in sorted(sums.items())
    ]


def _matches_dead_letter(stored: StoredDeadLetter, where: DeadLetterFilter) -> bool:
    """Whether the dead letter passes the filter."""
    dead_letter = stored.dead_letter
    return (
        where.source in {None, dead_letter.source}
        and where.status in {None, dead_letter.status}
        and where.field in {None, dead_letter.field}
        and where.reason in {None, dead_letter.reason}
        and (where.since is None or dead_letter.received_at >= where.since)
        and (where.until is None or stored.first_received_at < where.until)
        and where.replayed in {None, stored.replayed_at is not None}
    )


def _group(members: Sequence[StoredDeadLetter]) -> DeadLetterGroup:
    dead_letter = members[0].dead_letter
    return DeadLetterGroup(
        source=dead_letter.source,
        status=dead_letter.status,
        field=dead_letter.field,
        reason=dead_letter.reason,
        count=len(members),
        first=min(stored.first_received_at for stored in members),
        last=max(stored.dead_letter.received_at for stored in members),
        example_id=max(stored.id for stored in members),
    )


def _opening(record: FlowRecord) -> tuple[datetime, str, str]:
    return (record.opened_at, record.flow, record.key)


def _is_due(record: FlowRecord, due: Due) -> bool:
    deferred = (
        due.deferred_by and record.evidence_set.deferred_until and record.evidence_set.deferred_until > due.deferred_by
    )
    return record.opened_at <= due.opened_by and not deferred


def _matches_flow(record: FlowRecord, where: FlowFilter) -> bool:
    return (
        (not where.flow or record.flow in where.flow)
        and (not where.status or record.status in where.status)
        and (not where.issue or not set(where.issue).isdisjoint(record.issues))
        and (where.key is None or record.key.startswith(where.key))
        and (where.since is None or record.opened_at >= where.since)
        and (where.until is None or record.opened_at < where.until)
    )


def _position(event: Event) -> tuple[datetime, str, str]:
    return (event.received_at, event.source, event.id)


def _matches(event: Event, where: EventFilter) -> bool:
    return (
        where.source in {None, event.source}
        and where.type in {None, event.type}
        and where.order_id in {None, event.order_id}
        and (where.since is None or event.received_at >= where.since)
        and (where.until is None or event.received_at < where.until)
    )
