"""What the job does with one message at a time: pure functions of the message and of what is known under its key."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from helios.errors import DEFECTS
from helios.messages import (
    MAX_RECORD_BYTES,
    DeliveryMessage,
    ErasureMessage,
    Heartbeat,
    RecomputeMessage,
    RulesMessage,
    count_key,
    decode_count,
    decode_delivery,
    decode_verdict,
    delivery_of,
    encode_count,
    encode_dead_letter,
    encode_event,
    encode_replacement,
    encode_verdict,
    verdict_key,
)
from helios.model.counts import Count, MinuteCount
from helios.model.events import ERASED, Delivery, Event, Fault, Outcome, Status
from helios.model.retention import MAX_AHEAD
from helios.model.sources import Source
from helios.normalise.replay_marks import is_replay
from helios.reconciliation.evidence import EvidenceSet
from helios.reconciliation.fold import Fold, is_same_record
from helios.reconciliation.record import FlowKey, FlowRecord
from helios.reconciliation.reread import complete
from helios.reconciliation.silence import LOOKBACK
from helios.services.identity import KnownEvent, classify, decode_known, encode_known, known
from helios.services.outcomes import dead_letters_of, source_of
from helios.services.reading import fault_of, internal_error_rejection, read_message
from helios.sources.registry import CLOUDS, Sources

log = logging.getLogger("helios.flink")

ERASE_AGAIN = timedelta(minutes=1)
"""For how long after an erasure its evidence is removed again, if a recompute has read it before and sends it late."""

RECONSIDER = timedelta(seconds=30)
"""After how long a record that is deferred, because a source is silent, is looked at again."""

SHARDS = 64
"""Into how many parts the deliveries of one minute, source and type are divided before they are added up: all of them
under one key would be counted by a single task."""

KeyedText = tuple[str, str]
"""A message with its key."""

Note = tuple[int, str]
"""What the log says about an instance beside deliveries: its time, in Flink's milliseconds, and what a recompute has
read; no text: the instance was erased."""


class Effects(NamedTuple):
    """What follows from one delivery.

    Attributes:
        identified: the event with its identity, for ``Identify``; None if the delivery ends here.
        event: the new event, as the key and value of a message.
        evidence: the evidence by instance.
        dead_letter: the dead letter, as the key and value of a message.
        counted: the count of the delivery, with the key of its part.
        known: what is known of the identity from now on; None: no more than before.
        rules: the message itself, if it says which versions of flows are in force.
        erased_events: the identities of erased events, for ``Identify``.
        erased_instances: the keys of erased instances, for ``Judge``.
        recomputed: what a recompute has read of an instance, with the key of the instance, for ``Judge``.
    """

    identified: KeyedText | None = None
    event: KeyedText | None = None
    evidence: Sequence[KeyedText] = ()
    dead_letter: KeyedText | None = None
    counted: KeyedText | None = None
    known: str | None = None
    rules: str | None = None
    erased_events: Sequence[str] = ()
    erased_instances: Sequence[str] = ()
    recomputed: KeyedText | None = None


class Identified(msgspec.Struct, frozen=True, array_like=True):
    """A readable delivery on its way to the task that knows its identity.

    Attributes:
        event: the event in it.
        replayed: whether Helios itself has sent it.
        accept: see ``DeliveryMessage``.
        message: the message of the log as it is there: the dead letter of a contradiction has its body. It is rarely
            needed, and so neither decoded nor encoded on the way.
    """

    event: Event
    replayed: bool
    accept: bool
    message: msgspec.Raw


class InstanceEvidence(msgspec.Struct, frozen=True, array_like=True):
    """Evidence on its way to the task that has the record of its flow instance.

    Attributes:
        flow: the flow of the instance.
        key: the key of the instance.
        evidence_set: the evidence.
        generation: the generation of the rules by which it was extracted.
    """

    flow: str
    key: str
    evidence_set: EvidenceSet
    generation: int = 0


_encode = msgspec.json.Encoder().encode
_decode_identified = msgspec.json.Decoder(Identified).decode
_decode_evidence = msgspec.json.Decoder(InstanceEvidence).decode
_decode_recomputed = msgspec.json.Decoder(RecomputeMessage).decode
_decode_silent = msgspec.json.Decoder(dict[str, list[Source]]).decode


class Read:
    """Reads the messages of the log."""

    def __init__(self, sources: Sources = CLOUDS) -> None:
        self._sources = sources

    def __call__(self, value: str | None, at: datetime) -> Effects:
        """The event in a message, or the dead letter that it becomes. A heartbeat has no effects.

        Args:
            value: the value of a message of ``deliveries``; None: it has none.
            at: the log's time of the message.
        """
        value = value or ""
        try:
            message = decode_delivery(value)
        except msgspec.MsgspecError as error:
            return _rejected(_foreign(value, at, error))
        if not isinstance(message, DeliveryMessage):
            return _effects_of(message, value)
        try:
            reading = read_message(message, self._sources)
        except DEFECTS as error:  # a body that is no base64
            return _rejected(_foreign(value, at, error))
        if isinstance(reading.content, Fault):
            return _rejected(replace(reading.delivery, fault=reading.content))
        event = reading.content
        raw = msgspec.Raw(value.encode())
        identified = Identified(event, is_replay(reading.delivery), message.accept, raw)
        return Effects(identified=(identity_key(event), _encode(identified).decode()))


def identity_key(event: Event) -> str:
    """The identity of an event as text: JSON, because any of its parts may contain any character."""
    return _encode(event.key).decode()


class Identify:
    """Decides what each delivery of an identity is, and extracts its evidence."""

    def __init__(self, fold: Fold, sources: Sources = CLOUDS, *, horizon: timedelta, generation: int = 0) -> None:
        """Take the declarations.

        Args:
            fold: extracts evidence.
            sources: the declared sources.
            horizon: how long an identity is known.
            generation: the generation of the rules of the fold.
        """
        self._generation = generation
        self._fold = fold
        self._sources = sources
        self._horizon = horizon

    def __call__(self, identified: str, known_before: str | None) -> Effects:
        """What follows from a delivery, given what is known of its identity.

        The delivery of an event that was erased is a duplicate, and no evidence. Instead of a delivery, ERASED says so.
        """
        if identified == ERASED:
            return Effects(known=ERASED)
        item = _decode_identified(identified)
        event = item.event
        if known_before == ERASED:
            return Effects(counted=_count(event.received_at, event.source, event.type, "duplicate", shard=event.digest))
        try:
            original = None if known_before is None else decode_known(known_before)
            outcome = classify(event, original, horizon=None if item.accept else self._horizon)
            return self._effects(item, outcome, known(event) if outcome.status == "stored" else None)
        except DEFECTS as defect:
            delivery = self._delivery(item)
            return _rejected(replace(delivery, fault=fault_of(internal_error_rejection(delivery, defect))))

    def forget_at(self, at: datetime) -> datetime:
        """When to remove an identity that was stored at a moment: not before the event itself is beyond the horizon."""
        return at + self._horizon + MAX_AHEAD

    def _effects(self, item: Identified, outcome: Outcome, known_now: KnownEvent | None) -> Effects:
        event = item.event
        is_evidence = outcome.status != "rejected" and not (item.replayed and outcome.status == "duplicate")
        evidence = self._fold.evidence([event]) if is_evidence else {}
        dead_letters = (
            dead_letters_of([self._delivery(item)], [outcome])
            if outcome.status in {"contradictory", "rejected"}
            else []
        )
        return Effects(
            event=(identity_key(event), encode_event(event).decode()) if known_now else None,
            evidence=[
                (_instance_key(identity), _encode(InstanceEvidence(*identity, evidence_set, self._generation)).decode())
                for identity, evidence_set in evidence.items()
            ],
            dead_letter=next(
                ((dead_letter.fingerprint, encode_dead_letter(dead_letter).decode()) for dead_letter in dead_letters),
                None,
            ),
            counted=_count(event.received_at, event.source, event.type, outcome.status, shard=event.digest),
            known=encode_known(known_now).decode() if known_now else None,
        )

    def _delivery(self, item: Identified) -> Delivery:
        message = decode_delivery(bytes(item.message))
        assert isinstance(message, DeliveryMessage)  # noqa: S101 - ``Read`` has seen that; for mypy
        return delivery_of(message, self._sources)


class Judge:
    """Keeps the record of each flow instance."""

    def __init__(self, fold: Fold, *, horizon: timedelta, generation: int = 0) -> None:
        """Take the declarations.

        Args:
            fold: turns evidence into records.
            horizon: how long a record is stored after the last arrival of its evidence.
            generation: the generation of the rules of the fold.
        """
        self._generation = generation
        self._ending = f",{generation}]"
        self._fold = fold
        self._horizon = horizon

    def waits_for_rules(self, evidence: str) -> bool:
        """Whether evidence was extracted by later rules than those of this task, which are on their way to it."""
        # The generation is last. Most evidence has that of the task, and is decoded once, by ``add``.
        return not evidence.endswith(self._ending) and _decode_evidence(evidence).generation > self._generation

    def add(self, evidence: str, stored: str | None) -> FlowRecord | None:
        """The record with more evidence; None if its flow was withdrawn, or if the record stays as it was.

        With a bug in Helios, it does, and the stack trace is logged: raising would stop the job at this message until
        the bug is fixed. The event is stored, and a recompute after the fix finds it. A record that is too large stays
        as it was, too: Kafka would refuse the message, and the job would start again at the same delivery.

        Args:
            evidence: from ``Identify``.
            stored: the record before; None: there is none.
        """
        item = _decode_evidence(evidence)
        if item.flow not in self._fold.evaluators:
            return None
        before = decode_verdict(stored) if stored else None
        try:
            after = self._fold.add(before, (item.flow, item.key), item.evidence_set)
            # A character has up to four bytes. So only records that may be too large are encoded for their size.
            is_large = len(evidence) + len(stored or "") > MAX_RECORD_BYTES // 8
            return None if is_large and _is_too_large(after) else after
        except DEFECTS as defect:
            log.error("internal error", exc_info=defect, extra={"flow": item.flow, "key": item.key})
            return None

    def must_wait(self, recomputed: str) -> bool:
        """Whether a recompute was done by later rules than those of this task, which are on their way to it."""
        return _decode_recomputed(recomputed).generation > self._generation

    def act_on(
        self, notes: Sequence[Note], stored: str | None, now: datetime, silent: str | None
    ) -> tuple[FlowRecord | None, bool]:
        """The record by the rules of now, without what was erased and with what it lacks, and whether to write it.

        It is written even if a recompute has changed nothing, so that the store has the record of the job in the end.

        Erasures come last: a recompute at the same time has read what they remove, and writes to the log afterwards.

        Args:
            notes: what recomputes have read in the order of the log, and erasures that are due or were a moment ago.
            stored: the record before; None: there is none.
            now: the time up to which the log has been read.
            silent: as in ``expire``.
        """
        before = record = decode_verdict(stored) if stored else None
        for _, text in notes:
            if text:
                record = self._reevaluate(_decode_recomputed(text), record, now, silent)
        for at, text in notes:
            if record and not text:
                record = self.erase(record, moment(at))
        if record is None or record is before:
            return record, False
        return replace(record, version=before.version + 1 if before else 1), True

    def _reevaluate(
        self, item: RecomputeMessage, before: FlowRecord | None, now: datetime, silent: str | None
    ) -> FlowRecord | None:
        """The record by the rules of now, with what a recompute has read.

        A deadline that has passed is acted on at once, so that no record follows that says the opposite.
        """
        evaluator = self._fold.evaluators.get(item.flow)
        if evaluator is None:
            return before
        is_older = item.generation < self._generation
        try:
            evidence_set = complete(
                evaluator,
                before.evidence_set if before else item.evidence_set,
                item.evidence_set if before else EvidenceSet(items=[]),
                dropped=() if is_older else item.dropped,
                is_older=is_older,
            )
            if not evidence_set.items:  # none of it belongs to a leg by the rules of now
                return before
            after = self._fold.reevaluate(before, (item.flow, item.key), evidence_set, now=now)
            if _is_too_large(after):
                return before
            is_overdue = after.waiting and now >= self._fold.deadline(after)
            return self._fold.expire(after, now=now, silent=_sources(silent, item.flow)) if is_overdue else after
        except DEFECTS as defect:
            log.error("internal error", exc_info=defect, extra={"flow": item.flow, "key": item.key})
            return before

    def erase(self, before: FlowRecord, at: datetime) -> FlowRecord | None:
        """The record without the evidence that was received before a time; None: nothing is left."""
        items = [item for item in before.evidence_set.items if item.received_at >= at]
        if len(items) == len(before.evidence_set.items):
            return before
        if not items or before.flow not in self._fold.evaluators:
            return None
        after = self._fold.add(None, before.identity, EvidenceSet(items=items))
        return replace(after, version=before.version + 1)

    def expire(self, stored: str, now: datetime, silent: str | None) -> tuple[FlowRecord, bool]:
        """The record at a moment, and whether its deadline has changed it.

        Args:
            stored: the record before.
            now: the time up to which the log has been read.
            silent: from ``Silence``; None: no source is silent.
        """
        before = decode_verdict(stored)
        if not before.waiting or before.flow not in self._fold.evaluators or now < self._fold.deadline(before):
            return before, False
        after = self._fold.expire(before, now=now, silent=_sources(silent, before.flow))
        return (before, False) if is_same_record(before, after) else (after, True)

    def deadline(self, record: FlowRecord) -> datetime | None:
        """From when on ``expire`` may change a record; None: no deadline does."""
        is_judged = record.waiting and record.flow in self._fold.evaluators
        return self._fold.deadline(record) if is_judged else None

    def forget_at(self, record: FlowRecord) -> datetime:
        """When to remove the record."""
        return max(item.received_at for item in record.evidence_set.items) + self._horizon


def encode_record(record: FlowRecord, *, replaces: bool = False) -> KeyedText:
    """The key and the value of a message of ``verdicts``; the value is also the state of ``Judge``.

    Args:
        record: the record.
        replaces: see ``encode_replacement``.
    """
    return verdict_key(record), (encode_replacement if replaces else encode_verdict)(record).decode()


def _is_too_large(record: FlowRecord) -> bool:
    """Whether no message takes a record; the log then says so."""
    size = len(encode_verdict(record))
    if size > MAX_RECORD_BYTES:
        place = {"flow": record.flow, "key": record.key, "bytes": size}
        log.error("a record is too large for the log, and stays as it was", extra=place)
    return size > MAX_RECORD_BYTES


class Totals:
    """Adds up counts."""

    @staticmethod
    def add(count: str, stored: str | None) -> str:
        """The sum of a count and of what was counted under the same key before."""
        added = decode_count(count)
        if stored:
            added.add(decode_count(stored))
        return encode_count(added).decode()

    @staticmethod
    def key(count: str) -> str:
        """The key of the whole count to which a part belongs, and of the message of ``counts``."""
        return count_key(decode_count(count))

    @staticmethod
    def forget_at(count: str) -> datetime:
        """When the count of a minute is no longer needed: no delivery of that minute is still on its way."""
        return decode_count(count).minute + timedelta(days=1)


class Silence:
    """Finds the sources that are silent while others send."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold

    def __call__(self, counts: Mapping[str, str], now: datetime) -> str:
        """By flow, the sources whose legs are not missing yet, as JSON.

        Args:
            counts: the counts since ``now - LOOKBACK``, by their keys.
            now: the moment in question.
        """
        minutes: dict[tuple[datetime, Source], int] = {}
        for text in counts.values():
            count = decode_count(text)
            slot = (count.minute, count.source)
            minutes[slot] = minutes.get(slot, 0) + count.stored
        rows = [
            MinuteCount(minute=minute, source=source, stored=stored, duplicate=0, contradictory=0, rejected=0)
            for (minute, source), stored in sorted(minutes.items())
        ]
        silent = self._fold.silent_sources(rows, now)
        return _encode({flow: sorted(sources) for flow, sources in sorted(silent.items()) if sources}).decode()

    @staticmethod
    def minute(count: str) -> datetime:
        """The minute of a count."""
        return decode_count(count).minute

    @staticmethod
    def is_over(count: str, now: datetime) -> bool:
        """Whether a count is older than what silence depends on."""
        return decode_count(count).minute < now - LOOKBACK - timedelta(minutes=1)


def _sources(silent: str | None, flow: str) -> set[Source]:
    """The silent sources of a flow."""
    return set(_decode_silent(silent).get(flow, [])) if silent else set()


def moment(milliseconds: int) -> datetime:
    """Flink's time: milliseconds since 1970, UTC."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)


def milliseconds_after(at: datetime) -> int:
    """The first of Flink's times that is not before a moment."""
    return -(-(at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1))


def _effects_of(message: Heartbeat | RulesMessage | ErasureMessage | RecomputeMessage, value: str) -> Effects:
    """What follows from a message that is no delivery."""
    if isinstance(message, RulesMessage):
        return Effects(rules=value)
    if isinstance(message, RecomputeMessage):
        return Effects(recomputed=(_instance_key((message.flow, message.key)), value))
    if isinstance(message, ErasureMessage):
        return Effects(
            erased_events=[_encode(key).decode() for key in message.events],
            erased_instances=[_instance_key(identity) for identity in message.instances],
        )
    return Effects()


def _instance_key(identity: FlowKey) -> str:
    """The name of a flow has no slash."""
    return "/".join(identity)


def _foreign(value: str, at: datetime, error: Exception) -> Delivery:
    """A delivery for a message that no edge wrote, with the reason: nothing that is in the log is dropped."""
    fault = Fault(reason=f"is no message of an edge of Helios: {error}", field="body", status=400)
    return Delivery(channel="webhook", body=value.encode(), received_at=at, fault=fault)


def _rejected(delivery: Delivery) -> Effects:
    """The dead letter of a delivery with a fault."""
    fault = delivery.fault
    assert fault  # noqa: S101 - the callers set it; for mypy
    outcome = Outcome(status="rejected", reason=fault.reason, field=fault.field, http_status=fault.status)
    (dead_letter,) = dead_letters_of([delivery], [outcome])
    return Effects(
        dead_letter=(dead_letter.fingerprint, encode_dead_letter(dead_letter).decode()),
        counted=_count(
            delivery.received_at, source_of(delivery, None), "", outcome.status, shard=dead_letter.fingerprint
        ),
    )


def _count(received_at: datetime, source: Source, type_: str, status: Status, *, shard: str) -> KeyedText:
    key, count = _count_of(received_at.replace(second=0, microsecond=0), source, type_, status)
    return f"{int(shard[:8], 16) % SHARDS}/{key}", count


@lru_cache(maxsize=4096)
def _count_of(minute: datetime, source: Source, type_: str, status: Status) -> KeyedText:
    """The key and the text of a count of one delivery: the deliveries of a minute share few of them."""
    count = Count(minute=minute, source=source, type=type_)
    setattr(count, status, 1)
    return count_key(count), encode_count(count).decode()
