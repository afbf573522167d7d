"""The messages of the log: its topics, and the key and the JSON value of each message.

=================  =========================================  ===========================================
topic              key                                        value
=================  =========================================  ===========================================
``deliveries``     ``delivery_key``                           ``LogInput``
``events``         the identity of the event                  ``Event``: every event, once
``verdicts``       ``verdict_key``                            ``FlowRecord``: compacted, the latest counts;
                                                              see ``encode_replacement``
``counts``         ``count_key``                              ``Count``: compacted, the largest counts
``dead-letters``   the fingerprint                            ``DeadLetterMessage``
=================  =========================================  ===========================================

The edges write deliveries, the job reads them and writes the other topics, and the projector reads those. All values
are JSON: any tool that reads Kafka shows them, and a release adds fields without breaking older readers.
"""

import base64
import binascii
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import asdict, replace

from helios.model.counts import Count
from helios.model.dead_letters import DeadLetter, fingerprint_of
from helios.model.events import Channel, Delivery, Event, Fault, Key
from helios.model.flow_versions import InForce
from helios.model.sources import Source
from helios.reconciliation.evidence import EvidenceSet, Identity
from helios.reconciliation.fold import decode_record, encode_record
from helios.reconciliation.record import FlowKey, FlowRecord
from helios.sources.registry import Sources

log = logging.getLogger("helios.messages")

MAX_RECORD_BYTES = 32_000_000
"""The largest record with new evidence. A message may have 33,554,432 bytes: the rest is for what a deadline adds."""


class Topics(NamedTuple):
    """The names of the topics."""

    deliveries: str
    events: str
    verdicts: str
    counts: str
    dead_letters: str


def topics(prefix: str) -> Topics:
    """The topics of a deployment, whose names begin with its prefix."""
    return Topics(*(f"{prefix}.{name}" for name in ("deliveries", "events", "verdicts", "counts", "dead-letters")))


def job_group(names: Topics) -> str:
    """The consumer group of the job: with each checkpoint, Flink commits to it how far the deliveries are judged."""
    return f"{names.deliveries}.flink"


READABLE_BYTES: Final = 1_000_000
"""A body of up to this size is text even if that is longer than base64: no escape has more than six bytes."""

_SHORT_ESCAPES: Final = b'"\\\b\f\n\r\t'
"""What JSON writes as two bytes."""
_LONG_ESCAPES: Final = bytes(set(range(32)) - set(_SHORT_ESCAPES))
"""What JSON writes as six bytes."""


class Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """The bytes of a body: as text, which people can read, or in base64 if they are no UTF-8, or if that is shorter.

    A message of escapes could be larger than the brokers take, however often it is sent again.
    """

    text: str | None = None
    base64: str | None = None

    @classmethod
    def of(cls, body: bytes) -> "Body":
        """Take the bytes."""
        if len(body) <= READABLE_BYTES or _escaped_bytes(body) <= len(body) / 3:
            with suppress(UnicodeDecodeError):
                return cls(text=body.decode())
        return cls(base64=base64.b64encode(body).decode())

    def bytes(self) -> bytes:
        """The bytes.

        Raises:
            ValueError: the base64 is invalid.
        """
        return (self.text or "").encode() if self.base64 is None else binascii.a2b_base64(self.base64)


def _escaped_bytes(body: bytes) -> int:
    """How many bytes JSON adds to a text."""
    short = len(body) - len(body.translate(None, _SHORT_ESCAPES))
    long = len(body) - len(body.translate(None, _LONG_ESCAPES))
    return short + 5 * long


class DeliveryMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="delivery"):
    """A delivery as an edge received it, after redaction. Attributes not listed mean what they mean in ``Delivery``.

    Attributes:
        received_at: when the edge received it, UTC: the log's own time of a message is later.
        source: the declared source that proved to have sent it; absent for the channels of the clouds.
        event: the event in it, if redaction changed the body so that it can't be read from there; otherwise absent.
        fault: why an edge could not read it; otherwise absent.
        accept: whether an event beyond the identity horizon is stored, because a person has decided so.
    """

    channel: Channel
    body: Body
    received_at: datetime
    headers: Mapping[str, str] = {}
    source: Source | None = None
    event: Event | None = None
    fault: Fault | None = None
    accept: bool = False


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="heartbeat"):
    """Says that time has passed: without it, the deadlines of a log that has gone quiet would not pass.

    Attributes:
        at: the time, UTC. Deliveries that were received earlier, and are still to come, are late by the delay between
            an edge's receipt and its append.
    """

    at: datetime


class RulesMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="rules"):
    """Says which versions of flows are in force. The job evaluates by them from here on.

    Attributes:
        generation: as in ``InForce``. A task that knows a later one changes nothing.
        texts: as in ``InForce``.
    """

    generation: int
    texts: Mapping[str, str]


class ErasureMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="erasure"):
    """Says what was erased. The job forgets what it received of it before, and takes no evidence from it any more.

    Attributes:
        events: the identities of events.
        instances: flow instances.
    """

    events: tuple[Key, ...] = ()
    instances: tuple[FlowKey, ...] = ()


class RecomputeMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="recompute"):
    """Says that a recompute has evaluated a flow instance. The job evaluates its record by the rules of now.

    Attributes:
        flow: the flow of the instance.
        key: the key of the instance.
        evidence_set: all evidence, some of which the record of the job may lack.
        dropped: recorded evidence that does not belong to its leg any more.
        generation: the generation of the rules by which it was read.
    """

    flow: str
    key: str
    evidence_set: EvidenceSet
    dropped: tuple[Identity, ...] = ()
    generation: int = 0


class DeadLetterMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter.

    Attributes:
        dead_letter: all of it but the body, which is empty here.
        body: the body.
    """

    dead_letter: DeadLetter
    body: Body


LogInput = DeliveryMessage | Heartbeat | RulesMessage | ErasureMessage | RecomputeMessage
"""What a message of ``deliveries`` holds."""

_encode = msgspec.json.Encoder().encode
_deliveries: msgspec.json.Decoder[LogInput] = msgspec.json.Decoder(LogInput)
_decode_dead_letter = msgspec.json.Decoder(DeadLetterMessage).decode


def encode_delivery(
    delivery: Delivery, *, event: Event | None = None, fault: Fault | None = None, accept: bool = False
) -> bytes:
    """The value of a message of ``deliveries``; see ``DeliveryMessage``."""
    return _encode(
        DeliveryMessage(
            channel=delivery.channel,
            body=Body.of(delivery.body),
            received_at=delivery.received_at,
            headers=delivery.headers,
            source=delivery.declaration.name if delivery.declaration else None,
            event=event,
            fault=fault,
            accept=accept,
        )
    )


def encode_heartbeat(at: datetime) -> bytes:
    """The value of a heartbeat."""
    return _encode(Heartbeat(at=at))


def encode_rules(in_force: InForce) -> tuple[str, bytes]:
    """The key and the value of the message that says which versions of flows are in force."""
    return "rules", _encode(RulesMessage(generation=in_force.generation, texts=in_force.texts))


def encode_erasure(events: Sequence[Key], instances: Sequence[FlowKey]) -> tuple[str, bytes]:
    """The key and the value of the message that says what was erased."""
    return "erasure", _encode(ErasureMessage(events=tuple(events), instances=tuple(instances)))


def encode_recompute(
    record: FlowRecord, *, dropped: Sequence[Identity] = (), generation: int | None
) -> tuple[str, bytes]:
    """The key and the value of the message that says what a recompute has read of a flow instance."""
    return record.key, _encode(
        RecomputeMessage(
            flow=record.flow,
            key=record.key,
            evidence_set=record.evidence_set,
            dropped=tuple(dropped),
            generation=generation or 0,
        )
    )


def fitting(messages: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The messages of recomputes without those that are too large: the log would refuse them again and again."""
    for key, value in messages:
        if len(value) > MAX_RECORD_BYTES:
            log.error("the evidence of an instance is too large for the log", extra={"key": key, "bytes": len(value)})
    return [message for message in messages if len(message[1]) <= MAX_RECORD_BYTES]


def decode_delivery(value: bytes | str) -> LogInput:
    """What a message of ``deliveries`` holds.

    Raises:
        msgspec.MsgspecError: no edge wrote this value.
    """
    return _deliveries.decode(value)


def delivery_of(message: DeliveryMessage, sources: Sources) -> Delivery:
    """The delivery in a message.

    Args:
        message: the message.
        sources: has the declaration of the source that sent it. Without one, the delivery has a fault that says so.
    """
    declaration = sources.declared.get(message.source) if message.source else None
    fault = message.fault
    if message.source and declaration is None and fault is None:
        fault = Fault(reason=f"comes from {message.source!r}: {sources.expected()}", field="source", status=400)
    return Delivery(
        channel=message.channel,
        body=message.body.bytes(),
        received_at=message.received_at,
        headers=message.headers,
        fault=fault,
        declaration=declaration,
    )


def delivery_key(delivery: Delivery, event: Event | None, flows: list[FlowKey]) -> str:
    """The key of a delivery, which decides its partition: the events of an instance are in one.

    It is the key of the first instance that the event belongs to, otherwise the identity of the event; of an unreadable
    delivery, its fingerprint.
    """
    if event is None:
        return fingerprint_of(delivery)
    return flows[0][1] if flows else "/".join(event.key)


encode_event = _encode
"""The value of a message of ``events``."""

decode_event = msgspec.json.Decoder(Event).decode
"""The event in a message of ``events``. Raises msgspec.MsgspecError for anything else."""

encode_verdict = encode_record
decode_verdict = decode_record


class _Replacement(msgspec.Struct, frozen=True):
    """What a message of ``verdicts`` says beside the record."""

    replaces: bool = False


_decode_replacement = msgspec.json.Decoder(_Replacement).decode


def encode_replacement(record: FlowRecord) -> bytes:
    """The value of a verdict that a recompute or an erasure has made: it may have less evidence than the stored one."""
    return _encode({**asdict(record), "replaces": True})


def is_replacement(value: bytes | str) -> bool:
    """Whether a verdict may have less evidence than the stored one, and replaces it all the same."""
    return _decode_replacement(value).replaces


def verdict_key(record: FlowRecord) -> str:
    """The key of a verdict: its flow and its key. The name of a flow has no slash."""
    return "/".join(record.identity)


encode_count = _encode
"""The value of a message of ``counts``: all deliveries of its minute, source and type so far, not only the latest.

So the largest count is the right one, however often a message is read or written again.
"""

decode_count = msgspec.json.Decoder(Count).decode
"""The count in a message of ``counts``. Raises msgspec.MsgspecError for anything else."""


def count_key(count: Count) -> str:
    """The key of a count: its minute, source and type."""
    return f"{count.minute:%Y-%m-%dT%H:%MZ}/{count.source}/{count.type}"


def encode_dead_letter(dead_letter: DeadLetter) -> bytes:
    """The value of a message of ``dead-letters``."""
    return _encode(DeadLetterMessage(dead_letter=replace(dead_letter, body=b""), body=Body.of(dead_letter.body)))


def decode_dead_letter(value: bytes | str) -> DeadLetter:
    """The dead letter in a message of ``dead-letters``.

    Raises:
        msgspec.MsgspecError, ValueError: no job wrote this value.
    """
    message = _decode_dead_letter(value)
    return replace(message.dead_letter, body=message.body.bytes())
