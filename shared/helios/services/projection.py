"""The projection: what the job has written to the log becomes rows in Postgres, as if a batch had been ingested there.

Readers of the store do not know which engine has judged. Each transaction has the effects of some messages and their
offsets, so that a projector that is killed at any point repeats nothing and leaves nothing out.
"""

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec.structs import replace

from helios.errors import DEFECTS, Rejected, Retryable
from helios.messages import (
    Topics,
    decode_count,
    decode_dead_letter,
    decode_event,
    decode_verdict,
    encode_recompute,
    fitting,
    is_replacement,
)
from helios.model.balances import Arrivals, Repeats
from helios.model.counts import Count
from helios.model.dead_letters import DeadLetter
from helios.model.events import Event, Key
from helios.model.sources import UNKNOWN
from helios.model.stream import Frame
from helios.normalise.manifests import manifests_of
from helios.notify import notify_best_effort
from helios.ports.log import DeliveryLog, LogMessage, LogReader, Partition, Progress
from helios.ports.stream import Notifier
from helios.ports.unit_of_work import EventStore, UnitOfWork
from helios.reconciliation.evidence import lacks
from helios.reconciliation.fold import FlowChanges, Transition, changes_of, is_same_record, with_decision
from helios.reconciliation.record import FlowKey, FlowRecord, differences
from helios.services.offsets import progress_of
from helios.services.outcomes import cause_counts, summaries

log = logging.getLogger("helios.projection")

MAX_BATCH = 1000
"""Maximum messages in a transaction, so that none holds its locks for long."""

POLL_SECONDS = 0.2
"""How long to wait for messages: it is the delay of the last message before a pause."""

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
"""The pauses after failures double from the first to the longest."""


class Effects(NamedTuple):
    """What a batch of messages says.

    Attributes:
        events: by identity.
        archived: the identities of the events that the archive reads from the log itself.
        records: by flow instance, the last of each.
        replacements: the instances of which a record replaces the stored one even if it has less evidence.
        counts: the largest of each minute, source and type, sorted.
        dead_letters: in order, with those of the messages that can't be read.
    """

    events: dict[Key, Event]
    archived: set[Key]
    records: dict[FlowKey, FlowRecord]
    replacements: set[FlowKey]
    counts: list[Count]
    dead_letters: list[DeadLetter]


class Projector:
    """Writes batches of messages into a store."""

    def __init__(
        self,
        topics: Topics,
        *,
        store: EventStore,
        log: DeliveryLog,
        notifier: Notifier | None = None,
        stores_events: bool = True,
    ) -> None:
        """Take what it needs.

        Args:
            topics: the names of the topics.
            store: holds the events, the flow instances and the rest.
            log: takes the stored evidence that a record of the job lacks.
            notifier: notified of new frames; None: the relay finds the frames at its next turn.
            stores_events: False: events are only in the archive, which reads them from the log itself.
        """
        self._stores_events = stores_events
        self._topics = topics
        self._store = store
        self._log = log
        self._notifier = notifier

    def follow(self, open_reader: Callable[[], LogReader], stopping: threading.Event) -> None:
        """Project until ``stopping`` is set, and retry while the store or the log can't be reached.

        After a failure a new reader begins where the store says: it alone knows what the last transaction did.
        """
        pause = FIRST_PAUSE_SECONDS
        while not stopping.is_set():
            try:
                with closing(open_reader()) as reader:
                    while not stopping.is_set():
                        self.project(reader)
                        pause = FIRST_PAUSE_SECONDS
            except Retryable as error:
                log.warning("retrying later", extra={"error": str(error), "pause_s": pause})
                stopping.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def project(self, reader: LogReader) -> int:
        """Store the next messages, and return how many there were.

        Raises:
            ConflictError: another projector has read the same partition. Nothing was stored twice.
            Retryable: the store or the log can't be reached.
        """
        messages = reader.read(limit=MAX_BATCH, seconds=POLL_SECONDS)
        passed = reader.passed()
        if messages or passed:
            self._store_all(messages, passed, reader)
        if messages:
            notify_best_effort(self._notifier)
        return len(messages)

    def _store_all(self, messages: Sequence[LogMessage], passed: Mapping[Partition, int], reader: LogReader) -> None:
        """Store messages. One that the store refuses is found by halving, and becomes a dead letter."""
        progress = progress_of(messages, passed, reader)
        try:
            with self._store.transaction() as work:
                self._write(messages, progress, work)
        except (Rejected, *DEFECTS) as error:
            if len(messages) > 1:
                half = len(messages) // 2
                self._store_all(messages[:half], {}, reader)
                self._store_all(messages[half:], passed, reader)
                return
            reason = error.reason if isinstance(error, Rejected) else f"internal error ({type(error).__name__})"
            log.error("a message can't be stored", exc_info=error, extra=_place(messages[0]))
            with self._store.transaction() as work:
                work.log.advance(progress)
                self._left_to_archive(progress, work)
                work.dead_letters.add([_dead_letter(messages[0], reason)])
        reader.commit(progress)

    def _write(self, messages: Sequence[LogMessage], progress: Mapping[Partition, Progress], work: UnitOfWork) -> None:
        work.log.advance(progress)
        effects = self._read(messages, self._left_to_archive(progress, work))
        # Sorted, because writers of the same keys in different order deadlock.
        inserted = work.events.insert([effects.events[key] for key in sorted(effects.events.keys() - effects.archived)])
        added = work.log.raise_counts(effects.counts)
        changes = self._write_records(effects, work)
        flow_counts = changes.counts
        if effects.dead_letters:
            dead_letters = _combined(effects.dead_letters)
            work.dead_letters.add(dead_letters)
            flow_counts = [*flow_counts, *cause_counts(dead_letters)]
        counts, new = added.result(), inserted.result()
        shown = [event for key, event in effects.events.items() if key in new or key in effects.archived]
        # Of the others, no consumer of the stream could read the payload.
        stored = [event for event in shown if event.key in new]
        work.balances.declare(manifests_of(shown))
        if effects.archived:
            work.balances.arrive(arrivals_of([effects.events[key] for key in sorted(effects.archived)]))
        work.balances.repeat(_repeats(counts))
        if counts or shown or changes.flows or flow_counts:
            frame = Frame(counts=counts, events=summaries(shown), flows=changes.flows, flow_statuses=changes.statuses)
            work.stream.publish(frame, stored, flow_counts)

    def _left_to_archive(self, progress: Mapping[Partition, Progress], work: UnitOfWork) -> Mapping[Partition, range]:
        """The offsets of the events that the archive reads from the log itself."""
        events = {place: moved for place, moved in progress.items() if place[0] == self._topics.events}
        if self._stores_events:
            archived = work.log.pass_archive(events)
            return {place: range(events[place].since, until) for place, until in archived.items()}
        work.log.begin_archive(events)
        return {place: range(moved.until) for place, moved in events.items()}

    def _read(self, messages: Sequence[LogMessage], archived_offsets: Mapping[Partition, range]) -> Effects:
        """What the messages say. One that can't be read becomes a dead letter.

        Args:
            messages: those of a transaction.
            archived_offsets: those of the events that the archive reads itself.
        """
        events: dict[Key, Event] = {}
        archived = set[Key]()
        records: dict[FlowKey, FlowRecord] = {}
        replacements = set[FlowKey]()
        counts: dict[tuple[datetime, str, str], Count] = {}
        dead_letters: list[DeadLetter] = []
        for message in messages:
            if message.value is None:
                continue
            try:
                if message.topic == self._topics.events:
                    event = decode_event(message.value)
                    offsets = archived_offsets.get((message.topic, message.partition), range(0))
                    if event.key not in events and message.offset in offsets:
                        archived.add(event.key)
                    events.setdefault(event.key, event)
                elif message.topic == self._topics.verdicts:
                    record = decode_verdict(message.value)
                    records[record.identity] = record
                    if is_replacement(message.value):
                        replacements.add(record.identity)
                elif message.topic == self._topics.counts:
                    _take(counts, decode_count(message.value))
                else:
                    dead_letters.append(decode_dead_letter(message.value))
            except DEFECTS as error:
                log.warning("a message can't be read", extra=_place(message) | {"error": str(error)})
                dead_letters.append(_dead_letter(message, f"is no message of the job: {error}"))
        return Effects(events, archived, records, replacements, [counts[key] for key in sorted(counts)], dead_letters)

    def _write_records(self, effects: Effects, work: UnitOfWork) -> FlowChanges:
        """Write the records that differ from the stored ones, and return what that changes.

        The stored version is one more with each change: a recompute writes records, too. Which record of the job is the
        last, the order of the partition says. A record that lacks stored evidence is not written, see ``_transitions``.
        """
        transitions, incomplete = _transitions(effects, sorted(effects.records), work)
        refused = work.flows.write([after for _, after in transitions]).result()
        if refused:  # a recompute has changed them meanwhile; now they are locked
            again, more = _transitions(effects, sorted(refused), work)
            work.flows.write([after for _, after in again])
            transitions = [pair for pair in transitions if pair[1].identity not in refused] + again
            incomplete += more
        if incomplete:
            # Before the commit: if the log does not take it, the messages are projected again.
            self._log.append(fitting([encode_recompute(record, generation=None) for record in incomplete]))
        return changes_of(transitions, differences(transitions))


def _transitions(
    effects: Effects, keys: Sequence[FlowKey], work: UnitOfWork
) -> tuple[list[Transition], list[FlowRecord]]:
    """The instances that change, before and after, and the stored records of which the job lacks evidence.

    A job writes older records again if it begins at an earlier savepoint: these change nothing. If a record also has
    something new, the job has removed the rest from its state, or never had it: the job needs the stored evidence, and
    then writes a record with all of it.
    """
    stored = work.flows.find(keys).result()
    transitions: list[Transition] = []
    incomplete: list[FlowRecord] = []
    for key in keys:
        before, after = stored.get(key), effects.records[key]
        if is_same_record(before, after):
            continue
        if before and key not in effects.replacements and _is_behind(after, before):
            if _is_ahead(after, before):
                incomplete.append(before)
            continue
        after = replace(after, version=before.version + 1 if before else 1)
        transitions.append((before, with_decision(before, after)))
    return transitions, incomplete


def _is_behind(record: FlowRecord, stored: FlowRecord) -> bool:
    """Whether a record lacks what the stored one has: evidence, or with the same evidence the end of its waiting."""
    if lacks(record.evidence_set, stored.evidence_set):
        return True
    is_reopened = record.waiting and not stored.waiting
    return is_reopened and not lacks(stored.evidence_set, record.evidence_set)


def _is_ahead(record: FlowRecord, stored: FlowRecord) -> bool:
    """Whether a record has what the stored one lacks."""
    is_ended = stored.waiting and not record.waiting
    return is_ended or lacks(stored.evidence_set, record.evidence_set)


def _take(counts: dict[tuple[datetime, str, str], Count], count: Count) -> None:
    """Take a count of all deliveries so far: of each outcome, the larger one is the later one."""
    key = (count.minute, count.source, count.type)
    if known := counts.get(key):
        count = Count(
            minute=count.minute,
            source=count.source,
            type=count.type,
            stored=max(known.stored, count.stored),
            duplicate=max(known.duplicate, count.duplicate),
            contradictory=max(known.contradictory, count.contradictory),
            rejected=max(known.rejected, count.rejected),
        )
    counts[key] = count


def _combined(dead_letters: Sequence[DeadLetter]) -> list[DeadLetter]:
    """One dead letter for each fingerprint, with all attempts, sorted."""
    combined: dict[str, DeadLetter] = {}
    for dead_letter in dead_letters:
        known = combined.get(dead_letter.fingerprint)
        attempts = dead_letter.attempts + (known.attempts if known else 0)
        combined[dead_letter.fingerprint] = replace(dead_letter, attempts=attempts)
    return [combined[fingerprint] for fingerprint in sorted(combined)]


def _repeats(counts: Sequence[Count]) -> list[Repeats]:
    """How many deliveries repeated a stored event: by the minute of receipt, as the log has no other."""
    return [
        Repeats(minute=count.minute, source=count.source, type=count.type, number=count.duplicate)
        for count in counts
        if count.duplicate
    ]


def arrivals_of(events: Sequence[Event]) -> list[Arrivals]:
    """How many events arrived, by the seconds of their receipt and of their own time."""
    numbers = Counter(
        (event.received_at.replace(microsecond=0), event.time.replace(microsecond=0), *event.key[:2], event.type)
        for event in events
    )
    return [
        Arrivals(received_at=received_at, time=time, source=source, type=type_, producer=producer, number=number)
        for (received_at, time, source, producer, type_), number in numbers.items()
    ]


def _place(message: LogMessage) -> dict[str, object]:
    return {"topic": message.topic, "partition": message.partition, "offset": message.offset}


def _dead_letter(message: LogMessage, reason: str) -> DeadLetter:
    """The dead letter of a message itself, so that it can be read and, if it was an event, be replayed by hand."""
    place = f"{message.topic}/{message.partition}/{message.offset}"
    return DeadLetter(
        fingerprint=hashlib.blake2b(place.encode(), digest_size=16).hexdigest(),
        source=UNKNOWN,
        channel="cloudevents",
        status="rejected",
        reason=f"message {place}: {reason}".replace("\0", "\\0"),
        field="body",
        body=message.value or b"",
        headers={},
        received_at=datetime.now(UTC),
        attempts=1,
    )
