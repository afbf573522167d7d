"""The evidence that events give about a leg. Merging evidence gives the same result in every order of arrival."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from helios.errors import UNREADABLE
from helios.model.events import MAX_NAME_CHARS, Event, Key
from helios.model.payload import inner_json, reference, value_at
from helios.model.sources import Source
from helios.model.spellings import spellings
from helios.reconciliation.declaration import Flow
from helios.reconciliation.leg import MAX_VARIANTS, Parts
from helios.sources.payload import PayloadFields
from helios.sources.registry import CLOUDS, Sources

MAX_SCALARS = 24
MAX_SCALAR_CHARS = 120
"""How much of a payload is stored to show where two variants differ: its first fields, and the beginning of each."""

MAX_FIELD_CHARS = 4096
"""How much of a text is stored that a rule reads. The digest of a longer one follows: equal texts have equal ones."""

_CUT_OFF = " " * MAX_SCALAR_CHARS

_EXPONENT = 40
"""Numbers beyond 10 to this power keep their spelling: they are not amounts, and slow to write out."""

_SHORT = 20

Identity = tuple[str, str, str, str, str]
"""The identity of a piece of evidence: (leg, source, producer, id, content)."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Deliveries of a leg with the same id and content. In JSON it is an array, because it is read for every leg.

    Attributes:
        leg: the name of the leg.
        source: the cloud that sent it.
        id: the id of the event.
        content: a digest of the payload, independent of its spelling.
        time: when it happened in the cloud.
        received_at: when Helios first received it.
        fields: the payload's own fields by path, as text.
        deliveries: the number of deliveries.
        producer: the producer of the event; the last field, because older records do not have it.
    """

    leg: str
    source: Source
    id: str
    content: str
    time: datetime
    received_at: datetime
    fields: dict[str, str]
    deliveries: int = 1
    producer: str = ""

    @property
    def key(self) -> Key:
        """The identity of the event."""
        return (self.source, self.producer, self.id)

    @property
    def arrived_at(self) -> tuple[datetime, datetime]:
        """When it arrived first, and when that delivery says that it happened."""
        return (self.received_at, self.time)

    @property
    def identity(self) -> Identity:
        """Equal for two deliveries that are the same piece of evidence."""
        return (self.leg, self.source, self.producer, self.id, self.content)


def first_receipts(items: Iterable[Evidence]) -> dict[Key, datetime]:
    """When each event of some evidence was first received."""
    receipts: dict[Key, datetime] = {}
    for item in items:
        receipts[item.key] = min(item.received_at, receipts.get(item.key, item.received_at))
    return receipts


class KeyedEvidence(NamedTuple):
    """A piece of evidence and the flow instance to which it belongs."""

    flow: Flow
    key: str
    evidence: Evidence


class EvidenceSet(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """All evidence of one flow instance.

    Attributes:
        items: sorted by leg and first arrival, at most MAX_VARIANTS per leg, or the declared number of a leg with
            several parts.
        overflow: the number of further deliveries, by leg.
        deferred_until: until when the deadline is deferred because a cloud is silent; None: it is not deferred.
    """

    items: list[Evidence]
    overflow: dict[str, int] = {}
    deferred_until: datetime | None = None

    def of(self, leg: str) -> list[Evidence]:
        """The evidence of one leg, first arrival first."""
        return [item for item in self.items if item.leg == leg]

    def deliveries(self, leg: str) -> int:
        """The number of deliveries of a leg."""
        return sum(item.deliveries for item in self.of(leg)) + self.overflow.get(leg, 0)


Path_ = tuple[tuple[str, ...], ...]
"""A path into a payload: the spellings of each of its names."""


class _Reader(NamedTuple):
    """A leg to which an event type belongs, and the paths to read in its payload."""

    flow: Flow
    leg: str
    source: Source | None
    keys: list[tuple[str, Path_]]
    fields: list[tuple[str, Path_]]


class EvidenceExtractor:
    """Extracts evidence from events; built once from the declared flows and sources."""

    def __init__(self, flows: Sequence[Flow], sources: Sources = CLOUDS) -> None:
        readers: dict[str, list[_Reader]] = {}
        for flow in flows:
            for leg in flow.leg:
                fields = [(path, _path(path)) for path in flow.fields(leg.name)]
                keys = [(key, _path(key)) for key in flow.keys_of(leg)]
                reader = _Reader(flow, leg.name, leg.source, keys, fields)
                readers.setdefault(leg.type, []).append(reader)
        self._readers = {
            (type_, source): [reader for reader in of_type if reader.source in {source, None}]
            for type_, of_type in readers.items()
            for source in {reader.source for reader in of_type}
        }
        """The readers of a type and a source; those of None are for every source that no reader names."""
        self._payload_fields = {name: PayloadFields(source) for name, source in sources.declared.items()}

    def extract(self, event: Event) -> list[KeyedEvidence]:
        """The evidence for each flow instance that the event belongs to.

        There is none if the payload names no instance, or can't be decoded: an integer of thousands of digits is valid
        JSON and is stored, but can't be read.
        """
        readers = self._readers.get((event.type, event.source)) or self._readers.get((event.type, None))
        if readers is None:
            return []
        payload_fields = self._payload_fields.get(event.source)
        try:
            data = exact.decode(event.data)
            content = _digest(data)
            if type(data) is str and (inner := inner_json(bytes(event.data))):
                data = exact.decode(inner)
        except UNREADABLE:
            return []
        declared = payload_fields.read(data) if payload_fields else {}
        if declared:
            declared = {name: _bounded(text) for name, text in declared.items()}
        extracted = []
        for flow, leg, _, keys, paths in readers:
            for key_name, key_path in keys:
                key = reference(declared.get(key_name) or value_at(data, key_path))
                if key is not None:
                    break
            else:
                continue
            fields = _scalars(data) | declared if declared else _scalars(data)
            for path, steps in paths:
                # The scalars include the field, unless it is nested, beyond MAX_SCALARS, or cut off.
                if (
                    path not in declared
                    and len(fields.get(path) or _CUT_OFF) >= MAX_SCALAR_CHARS
                    and (text := _text(value_at(data, steps))) is not None
                ):
                    fields[path] = _bounded(text)
            evidence = Evidence(
                leg=leg,
                source=event.source,
                id=event.id,
                content=content,
                time=event.time,
                received_at=event.received_at,
                fields=fields,
                producer=event.producer,
            )
            extracted.append(KeyedEvidence(flow, key, evidence))
        return extracted


NO_PARTS: Mapping[str, Parts] = {}
"""For flows whose legs have one part each."""


def merge(evidence_sets: Sequence[EvidenceSet], parts: Mapping[str, Parts] = NO_PARTS) -> EvidenceSet:
    """One set with all evidence: equal pieces are counted as one, and of each leg the first to arrive are included.

    Args:
        evidence_sets: at least one.
        parts: the legs with several parts.
    """
    if len(evidence_sets) == 1:
        return evidence_sets[0]
    all_items: list[Evidence] = []
    is_plain = True
    for evidence_set in evidence_sets:
        all_items += evidence_set.items
        is_plain &= not evidence_set.overflow and not evidence_set.deferred_until
    if is_plain and len({item.leg for item in all_items}) == len(all_items):
        all_items.sort(key=_leg)  # the common case: every leg has arrived once
        return EvidenceSet(items=all_items)
    deferred_until = max([part.deferred_until for part in evidence_sets if part.deferred_until], default=None)
    items: dict[Identity, Evidence] = {}
    overflow: dict[str, int] = {}
    for evidence_set in evidence_sets:
        for leg, count in evidence_set.overflow.items():
            overflow[leg] = overflow.get(leg, 0) + count
        for item in evidence_set.items:
            identity = item.identity
            known = items.get(identity)
            items[identity] = _combined(known, item) if known else item
    sorted_items = sorted(items.values(), key=_arrival)
    if len(items) <= MAX_VARIANTS:
        return EvidenceSet(items=sorted_items, overflow=dict(sorted(overflow.items())), deferred_until=deferred_until)
    included: list[Evidence] = []
    for leg, group in groupby(sorted_items, key=_leg):
        leg_items = list(group)
        identities = _included(leg_items, parts.get(leg))
        included += [item for item in leg_items if item.identity in identities]
        if more := sum(item.deliveries for item in leg_items if item.identity not in identities):
            overflow[leg] = overflow.get(leg, 0) + more
    return EvidenceSet(items=included, overflow=dict(sorted(overflow.items())), deferred_until=deferred_until)


def lacks(evidence_set: EvidenceSet, other: EvidenceSet) -> bool:
    """Whether a set lacks evidence, deliveries or an earlier arrival of it that another set of the same instance has.

    The overflow of a leg counts what it does not list, except what arrived before its first piece.
    """
    items = {item.identity: item for item in evidence_set.items}
    for item in other.items:
        known = items.get(item.identity)
        if known and known.arrived_at > item.arrived_at:
            return True
        if item.leg in evidence_set.overflow:
            if not known and precedes_overflow(item, evidence_set):
                return True
        elif not known or known.deliveries < item.deliveries:
            return True
    return any(evidence_set.overflow.get(leg, 0) < number for leg, number in other.overflow.items())


def precedes_overflow(item: Evidence, evidence_set: EvidenceSet) -> bool:
    """Whether a piece arrived before all that a set lists of its leg, which has overflowed.

    The overflow counts no such piece: the first to arrive is always listed.
    """
    listed = evidence_set.of(item.leg)
    return bool(listed) and item.received_at < listed[0].received_at


def _included(leg_items: list[Evidence], parts: Parts | None) -> set[Identity]:
    """The pieces of a leg that are stored: the first of each part, then those of other contents, then repetitions.

    Thus no number of repetitions hides a contradiction, and no contradiction hides a part. A piece that was left out
    stays left out whatever else is merged later; otherwise the result would depend on the order of arrival. Only if it
    is delivered again with an earlier arrival can it be included. Its former deliveries then stay in the overflow.
    """
    by_part: dict[str, Evidence] = {}
    by_content: dict[tuple[str, str], Evidence] = {}
    for item in leg_items:
        part = part_of(item, parts)
        by_part.setdefault(part, item)
        by_content.setdefault((part, item.content), item)
    ranked = dict.fromkeys(item.identity for item in (*by_part.values(), *by_content.values(), *leg_items))
    return set(islice(ranked, parts.max_evidence if parts else MAX_VARIANTS))


def part_of(item: Evidence, parts: Parts | None) -> str:
    """The own id of the part that a piece of evidence belongs to; "" if the leg has one part.

    An event without an own id is a part by its content: a sender that publishes it twice sends one part.
    """
    if parts is None:
        return ""
    return item.fields.get(parts.id_path) or f"content {item.content}"


def _combined(left: Evidence, right: Evidence) -> Evidence:
    first = min(left, right, key=lambda item: (item.arrived_at, sorted(item.fields.items())))
    return msgspec.structs.replace(first, deliveries=left.deliveries + right.deliveries)


def _arrival(item: Evidence) -> tuple[str, datetime, str, str, str, str]:
    return (item.leg, item.received_at, item.source, item.producer, item.id, item.content)


_leg = attrgetter("leg")


def _number(text: str) -> Decimal | int | str:
    """A JSON number by its value: 10, 10.0 and 1e1 are equal."""
    if len(text) <= _SHORT and text[-1] != "0" and "e" not in text and "E" not in text:
        return Decimal(text)  # the common case: the number is in its normal form
    try:
        value = Decimal(text)
    except InvalidOperation:  # the exponent has too many digits
        return text
    if not -_EXPONENT < value.adjusted() < _EXPONENT:
        return text
    whole = int(value)
    return whole if value == whole else value.normalize()


exact = msgspec.json.Decoder(float_hook=_number)
_canonical = msgspec.json.Encoder(order="sorted")
_digest_of_nothing = hashlib.blake2b(digest_size=8)


def _digest(data: Any) -> str:
    """A digest of the payload alone: a sender that publishes a fact twice gives the second event a new id and time."""
    digest = _digest_of_nothing.copy()  # a third cheaper than a new one
    digest.update(_canonical.encode(data))
    return digest.hexdigest()


def _path(path: str) -> Path_:
    return tuple(spellings(name) for name in path.split("."))


def _text(value: Any) -> str | None:
    """A scalar as text; None for anything else."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]  # the line above checks the type
    if kind is int:
        return str(value)
    if kind is Decimal:
        return f"{value:f}"
    if kind is bool:
        return "true" if value else "false"
    return None


def _bounded(text: str) -> str:
    """A text that a rule reads. It differs from that of every other text, and is no number if it was cut off."""
    if len(text) <= MAX_FIELD_CHARS:
        return text
    return f"{text[:MAX_FIELD_CHARS]}... ({hashlib.blake2b(text.encode(), digest_size=16).hexdigest()})"


def _scalars(data: Any) -> dict[str, str]:
    """The first fields of a payload. No rule can read one with a longer name."""
    if not isinstance(data, dict):
        return {}
    few = data.items() if len(data) <= MAX_SCALARS else islice(data.items(), MAX_SCALARS)
    return {
        name: text[:MAX_SCALAR_CHARS]
        for name, value in few
        if len(name) <= MAX_NAME_CHARS and (text := value if type(value) is str else _text(value)) is not None
    }
