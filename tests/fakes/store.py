"""The ports in dictionaries: a complete Helios in one process, for experiments and quick tests."""

import random
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from datetime import UTC, datetime, timedelta

import msgspec

from helios.errors import AlreadyStored, ConflictError, Retryable
from helios.model.access import EventLimits
from helios.model.audit import Action, AuditEntry
from helios.model.balances import Arrivals, Manifest, Repeats
from helios.model.counts import LAST_DAY, Count, MinuteCount, Totals
from helios.model.dead_letters import (
    LISTED_BODY_BYTES,
    DeadLetter,
    DeadLetterFilter,
    DeadLetterGroup,
    ReplayedAs,
    StoredDeadLetter,
)
from helios.model.erasure import needles
from helios.model.events import Event, EventFilter, Key
from helios.model.flows import PROBLEMS, Due, FlowFilter, ResolutionState
from helios.model.paging import Page, decode_cursor, encode_cursor
from helios.model.resolutions import Decision
from helios.model.sources import UNKNOWN, Source
from helios.model.stream import Consumer, Frame, Parked, StreamEvents, StreamFrame, StreamWindow
from helios.ports.events import CachedKey
from helios.ports.log import Partition, Progress
from helios.ports.pending import Pending
from helios.ports.unit_of_work import InstancesChanged, NewBatch
from helios.reconciliation.record import FlowCount, FlowKey, FlowRecord, FlowSums, add, slot_of

CountKey = tuple[datetime, str, str]


class MemoryDedupeCache:
    """Implements ``DedupeCache`` with a set whose keys never expire."""

    failures = 0

    def __init__(self) -> None:
        self.keys: set[tuple[str, ...]] = set()

    def lookup(self, keys: Collection[CachedKey]) -> set[CachedKey]:
        """The keys among these that are in the cache."""
        return {key for key in keys if key in self.keys}

    def add(self, keys: Collection[tuple[str, ...]]) -> None:
        """Add keys of what is committed."""
        self.keys |= set(keys)

    def probe(self) -> None:
        """Always succeeds."""

    def close(self) -> None:
        """Does nothing; there are no resources to release."""


class StoredResolution(msgspec.Struct, frozen=True, kw_only=True):
    """What people did about a flow instance.

    Attributes:
        decision: what they decided.
        decided_in: the action that decided.
        version: the version of the instance for which the decision holds.
        assignee: who works on it.
        action: the last action.
        changed_at: the time of the last action.
        changed_by: the actor of the last action.
    """

    decision: Decision | None = None
    decided_in: int | None = None
    version: int | None = None
    assignee: str | None = None
    action: int
    changed_at: datetime
    changed_by: str

    def state(self, record: FlowRecord) -> ResolutionState:
        """What is shown of it: a decision ends with later evidence, or with another verdict."""
        if self.version is not None and self.version < record.version and not record.resolved:
            return "reopened"
        return self.decision or "unresolved"


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
    causes: dict[tuple[datetime, str, str, str], FlowCount] = {}
    log_offsets: dict[Partition, int] = {}
    log_counts: dict[CountKey, Count] = {}
    manifests: dict[tuple[datetime, str, str, str, str, bool], Manifest] = {}
    repeats: list[Repeats] = []
    arrivals: list[Arrivals] = []


class MemoryStore:
    """Implements ``EventStore`` and both readers. Transactions run one at a time and roll back on an error."""

    def __init__(self) -> None:
        self._state = _State()
        self.resolutions: dict[FlowKey, StoredResolution] = {}
        self._lock = threading.RLock()
        self.consumers: dict[str, int] = {}
        self.seen_at: dict[str, datetime] = {}
        self.archived_at = datetime.now(UTC)
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
                causes=dict(self._state.causes),
                log_offsets=dict(self._state.log_offsets),
                log_counts=dict(self._state.log_counts),
                manifests=dict(self._state.manifests),
                repeats=list(self._state.repeats),
                arrivals=list(self._state.arrivals),
            )
            yield MemoryUnitOfWork(draft)
            self._state = draft

    def instances(self, keys: Collection[FlowKey]) -> dict[FlowKey, FlowRecord]:
        """The stored instances among the keys."""
        return {key: record for key in keys if (record := self._state.flows.get(key))}

    def store_new(self, batch: NewBatch) -> None:
        """Store a batch, or raise ConflictError if an event or an instance is not as it was assumed."""
        with self.transaction() as work:
            stored = work.events.insert(batch.events).result()
            if len(stored) < len(batch.events):
                raise AlreadyStored("an event is stored")
            stored_instances = self.instances([one.identity for one in batch.instances])
            if batch.replaced and list(stored_instances.values()) != [batch.replaced]:
                raise InstancesChanged("the instance is another", stored_instances)
            try:
                work.flows.write_all(batch.instances)
            except ConflictError as error:
                raise InstancesChanged(str(error), stored_instances) from error
            work.stream.publish(batch.frame, batch.events, batch.flow_counts)

    def next_offsets(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The first message of each partition that was not read; partitions that were never read are left out."""
        return {key: offset for key in partitions if (offset := self._state.log_offsets.get(key)) is not None}

    def extend_partitions(self, now: datetime) -> int:
        """Does nothing; a dictionary has no partitions."""
        return 0

    def partitions_ahead(self) -> int:
        """None, for the same reason."""
        return 0

    def archive_succeeded_at(self) -> datetime:
        """A time that a test sets."""
        return self.archived_at

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
    def manifests(self) -> list[Manifest]:
        """What manifests declare."""
        return list(self._state.manifests.values())

    @property
    def repeats(self) -> list[Repeats]:
        """The deliveries that repeated a stored event."""
        return self._state.repeats

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
                source: sum(count.stored for count in counts if count.source == source)
                for source in {count.source for count in counts} - {UNKNOWN}
            },
            stored=sum(count.stored for count in counts),
            duplicate=sum(count.duplicate for count in counts),
            contradictory=sum(count.contradictory for count in counts),
            rejected=sum(count.rejected for count in counts),
            last_24h=sum(count.stored for count in counts if count.minute >= now - LAST_DAY),
            position=self.position,
        )

    def limited_totals(self, now: datetime, limits: EventLimits) -> Totals:
        """The totals of the counts that the limits allow."""
        counts = [count for count in self.counts if limits.allows(count.source, count.type)]
        by_source: dict[Source, int] = {}
        for count in counts:
            if count.source != "unknown":
                by_source[count.source] = by_source.get(count.source, 0) + count.stored
        return Totals(
            events_by_source=by_source,
            stored=sum(count.stored for count in counts),
            duplicate=sum(count.duplicate for count in counts),
            contradictory=sum(count.contradictory for count in counts),
            rejected=sum(count.rejected for count in counts),
            last_24h=sum(count.stored for count in counts if count.minute >= now - LAST_DAY),
            position=self.position,
        )

    def minutes(self, since: datetime, limits: EventLimits = EventLimits()) -> list[MinuteCount]:  # noqa: B008 - frozen
        """The counts from the minute ``since`` on, sorted by minute and source."""
        return _minutes([count for count in self.counts if limits.allows(count.source, count.type)], since)

    def events(self, where: EventFilter, *, after: str | None, limit: int) -> Page[Event]:
        """Events, newest ``received_at`` first."""
        position = decode_cursor(after, tuple[datetime, str, str, str]) if after else None
        events = sorted(
            (event for event in self._state.events.values() if _matches(event, where)),
            key=place_of,
            reverse=True,
        )
        following = [event for event in events if position is None or place_of(event) < position]
        more = len(following) > limit
        return Page(
            items=following[:limit],
            next_cursor=encode_cursor(place_of(following[limit - 1])) if more else None,
        )

    def event(self, key: Key) -> Event | None:
        """One event, or None."""
        return self._state.events.get(key)

    def find(
        self,
        keys: Collection[Key],
        *,
        received_at: Mapping[Key, datetime] | None = None,
    ) -> list[Event]:
        """The events among the keys."""
        return [event for key in keys if (event := self._state.events.get(key))]

    def dead_letters(self, where: DeadLetterFilter, *, after: str | None, limit: int) -> Page[StoredDeadLetter]:
        """Dead letters, newest first."""
        before = decode_cursor(after, int) if after else None
        following = [
            stored
            for stored in sorted(self._state.dead_letters.values(), key=lambda stored: stored.id, reverse=True)
            if _matches_dead_letter(stored, where) and (before is None or stored.id < before)
        ]
        more = len(following) > limit
        items = [msgspec.structs.replace(item, dead_letter=_listed(item.dead_letter)) for item in following[:limit]]
        return Page(items=items, next_cursor=encode_cursor(items[-1].id) if more else None)

    def dead_letter(self, number: int) -> StoredDeadLetter | None:
        """One dead letter by its id, or None."""
        return next((stored for stored in self._state.dead_letters.values() if stored.id == number), None)

    def dead_letter_groups(
        self, where: DeadLetterFilter, *, limit: int, by_reason: bool = True
    ) -> list[DeadLetterGroup]:
        """Dead letters grouped by fault, most frequent first."""
        groups: defaultdict[tuple[str, ...], list[StoredDeadLetter]] = defaultdict(list)
        for stored in self._state.dead_letters.values():
            if _matches_dead_letter(stored, where):
                dead_letter = stored.dead_letter
                reason = dead_letter.reason if by_reason else ""
                groups[dead_letter.source, dead_letter.status, dead_letter.field, reason].append(stored)
        groups_of_keys = [_group(members, key[-1]) for key, members in groups.items()]
        return sorted(groups_of_keys, key=lambda group: (group.count, group.example_id), reverse=True)[:limit]

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
        return sorted((event for event in self._state.events.values() if _matches(event, where)), key=place_of)

    def dead_letters_in_order(self, where: DeadLetterFilter) -> list[StoredDeadLetter]:
        """Dead letters in order of receipt."""
        return [stored for stored in self._state.dead_letters.values() if _matches_dead_letter(stored, where)]

    def flows(self, where: FlowFilter, *, after: str | None, limit: int) -> Page[FlowRecord]:
        """Flow instances, newest ``opened_at`` first."""
        position = decode_cursor(after, tuple[datetime, str, str]) if after else None
        records = sorted(
            (
                record
                for record in self._state.flows.values()
                if _matches_flow(record, where) and _matches_resolution(record, where, self.resolutions)
            ),
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

    def flow_counts(
        self, flows: Collection[str] | None, *, since: datetime, until: datetime, bucket: timedelta
    ) -> list[FlowCount]:
        """The sums of flow instances that opened within a period, in buckets."""
        sums: dict[tuple[datetime, str, str, str], FlowCount] = {}
        for count in self._state.flow_counts.values():
            if since <= count.minute < until and (flows is None or count.flow in flows):
                begin = slot_of(since) + (count.minute - slot_of(since)) // bucket * bucket
                add(sums, msgspec.structs.replace(count, minute=begin))
        return [sums[slot] for slot in sorted(sums)]

    def flow_sums(
        self, flows: Collection[str] | None, *, since: datetime, until: datetime, bucket: timedelta
    ) -> FlowSums:
        """The same sums, with the position of the last frame that they include."""
        with self._lock:
            counts = self.flow_counts(flows, since=since, until=until, bucket=bucket)
            return FlowSums(position=self.position, counts=counts)

    def count(self, flow: str, *, since: datetime, until: datetime, problems: bool) -> int:
        """The number of instances that opened in a period."""
        return len(self._opened(flow, since, until, problems=problems))

    def sample(
        self,
        flow: str,
        *,
        since: datetime,
        until: datetime,
        problems: bool,
        among: int,
        limit: int,
    ) -> list[FlowKey]:
        """A random sample of these instances, in random order."""
        opened = self._opened(flow, since, until, problems=problems)
        return random.sample(opened, min(limit, len(opened)))

    def _opened(self, flow: str, since: datetime, until: datetime, *, problems: bool) -> list[FlowKey]:
        return [
            record.identity
            for record in self._state.flows.values()
            if record.flow == flow and since <= record.opened_at < until and (not problems or record.status in PROBLEMS)
        ]

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

    def catch_up(self) -> None:
        """The same."""

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
            yield from self._held(consumer)

    @contextmanager
    def try_offset(self, consumer: str) -> Iterator["MemoryConsumerOffset | None"]:
        """The same offset; None if another caller with the same name holds it."""
        turn = self._store.turns[consumer]
        if not turn.acquire(blocking=False):
            yield None
            return
        try:
            yield from self._held(consumer)
        finally:
            turn.release()

    def _held(self, consumer: str) -> Iterator["MemoryConsumerOffset"]:
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


class MemoryLogWriter:
    """Implements ``LogWriter`` on a draft of the state."""

    def __init__(self, draft: _State) -> None:
        self._draft = draft

    def advance(self, progress: Mapping[Partition, Progress]) -> None:
        """Move offsets, or raise ConflictError if one is not where it was assumed."""
        for partition, moved in progress.items():
            if self._draft.log_offsets.get(partition, moved.since) != moved.since:
                raise ConflictError(f"another projector has read {partition}")
            self._draft.log_offsets[partition] = moved.until

    def begin_archive(self, progress: Mapping[Partition, Progress]) -> None:
        """Does nothing: no archive reads this store."""

    def pass_archive(self, progress: Mapping[Partition, Progress]) -> Mapping[Partition, int]:
        """Nothing is archived."""
        return {}

    def raise_counts(self, counts: Sequence[Count]) -> Pending[list[Count]]:
        """Take larger counts, and return what they add to the known ones."""
        added = []
        for count in counts:
            key = (count.minute, count.source, count.type)
            known = self._draft.log_counts.get(key) or Count(minute=count.minute, source=count.source, type=count.type)
            largest, difference = copy(known), Count(minute=count.minute, source=count.source, type=count.type)
            for name in ("stored", "duplicate", "contradictory", "rejected"):
                setattr(largest, name, max(getattr(known, name), getattr(count, name)))
                setattr(difference, name, getattr(largest, name) - getattr(known, name))
            self._draft.log_counts[key] = largest
            if difference.received:
                added.append(difference)
        return Pending(lambda: added)


class MemoryUnitOfWork:
    """Implements ``UnitOfWork`` on a draft of the state."""

    def __init__(self, draft: _State) -> None:
        self.events = MemoryEventWriter(draft)
        self.counts = MemoryCountWriter(draft)
        self.dead_letters = MemoryDeadLetterWriter(draft)
        self.flows = MemoryFlowWriter(draft)
        self.balances = MemoryBalanceWriter(draft)
        self.stream = MemoryStreamWriter(draft)
        self.audit = MemoryAuditWriter(draft)
        self.log = MemoryLogWriter(draft)
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
                    body_bytes=len(dead_letter.body),
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


class MemoryBalanceWriter(_Writer):
    """Implements ``BalanceWriter``."""

    def declare(self, manifests: Sequence[Manifest]) -> None:
        """Store what manifests declare. Of those with the same identity, the one with the greatest rank stays."""
        for manifest in manifests:
            other = self._draft.manifests.get(manifest.identity, manifest)
            self._draft.manifests[manifest.identity] = max(other, manifest, key=lambda each: each.rank)

    def repeat(self, repeats: Sequence[Repeats]) -> None:
        """Add deliveries that repeated a stored event."""
        self._draft.repeats.extend(repeats)

    def arrive(self, arrivals: Sequence[Arrivals]) -> None:
        """Add events that arrived, and that the store does not have."""
        self._draft.arrivals.extend(arrivals)


class MemoryAuditWriter(_Writer):
    """Implements ``AuditWriter``."""

    def add(self, entry: AuditEntry) -> None:
        """Add an entry."""
        self._draft.audit_entries.append(entry)


class MemoryStreamWriter(_Writer):
    """Implements ``StreamWriter``."""

    def publish(
        self,
        frame: Frame,
        stored: Sequence[Event],
        flow_counts: Sequence[FlowCount] = (),
        *,
        generation: int | None = None,
    ) -> None:
        """Append a frame to the outbox, with the identities of all events that were stored, and add to the sums."""
        for count in frame.counts:
            key = (count.minute, count.source, count.type)
            self._draft.counts.setdefault(key, Count(minute=key[0], source=count.source, type=key[2])).add(count)
        for flow_count in flow_counts:
            add(self._draft.causes if flow_count.what == "cause" else self._draft.flow_counts, flow_count)
        self._draft.position += 1
        self._draft.stored[self._draft.position] = [event.key for event in stored]
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
        self.write_all(records)
        return Pending(set)

    def write_all(self, records: Sequence[FlowRecord]) -> None:
        """Write instances whose stored version is the one before."""
        for record in records:
            stored = self._draft.flows.get(record.identity)
            if record.version != (stored.version if stored else 0) + 1:
                raise ConflictError("an instance has another version")
        self._draft.flows |= {record.identity: record for record in records}


def _minutes(counts: Iterable[Count], since: datetime) -> list[MinuteCount]:
    sums: dict[tuple[datetime, Source], list[int]] = {}
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


def _listed(dead_letter: DeadLetter) -> DeadLetter:
    return msgspec.structs.replace(dead_letter, body=dead_letter.body[:LISTED_BODY_BYTES])


def _matches_dead_letter(stored: StoredDeadLetter, where: DeadLetterFilter) -> bool:
    """Whether the dead letter passes the filter."""
    dead_letter = stored.dead_letter
    return (
        not where.limits.by_content
        and where.limits.allows_source(dead_letter.source)
        and where.source in {None, dead_letter.source}
        and where.status in {None, dead_letter.status}
        and where.field in {None, dead_letter.field}
        and where.reason in {None, dead_letter.reason}
        and (where.since is None or dead_letter.received_at >= where.since)
        and (where.until is None or stored.first_received_at < where.until)
        and where.replayed in {None, stored.replayed_at is not None}
        and (where.mentions is None or any(needle in dead_letter.body for needle in needles(where.mentions)))
    )


def _group(members: Sequence[StoredDeadLetter], reason: str) -> DeadLetterGroup:
    dead_letter = members[0].dead_letter
    return DeadLetterGroup(
        source=dead_letter.source,
        status=dead_letter.status,
        field=dead_letter.field,
        reason=reason,
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
        and (where.cause is None or where.cause in record.causes)
        and (where.since is None or record.opened_at >= where.since)
        and (where.until is None or record.opened_at < where.until)
    )


def _matches_resolution(record: FlowRecord, where: FlowFilter, resolutions: Mapping[FlowKey, StoredResolution]) -> bool:
    row = resolutions.get(record.identity)
    return (not where.resolution or (row.state(record) if row else "unresolved") in where.resolution) and (
        where.assignee is None or (row is not None and row.assignee == where.assignee)
    )


def place_of(event: Event) -> tuple[datetime, str, str, str]:
    """The place of an event in the order of receipt."""
    return (event.received_at, event.source, event.id, event.producer)


def _matches(event: Event, where: EventFilter) -> bool:
    return (
        where.source in {None, event.source}
        and where.type in {None, event.type}
        and where.order_id in {None, event.order_id}
        and (where.attributes or {}).items() <= event.attributes.items()
        and where.limits.allows(event.source, event.type)
        and (where.since is None or event.received_at >= where.since)
        and (where.until is None or event.received_at < where.until)
    )
