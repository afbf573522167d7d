"""What an event says of a leg. Evidence only ever adds up, so that the sum does not depend on the order of arrival."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from helios.errors import UNREADABLE
from helios.model.events import SOURCES, Event, Source
from helios.reconciliation.declaration import Flow

MAX_VARIANTS = 8
"""Most pieces of evidence that are kept of one leg, contradictions first; what else there is only counts."""

MAX_SCALARS = 24
MAX_SCALAR_CHARS = 120
"""How much of a payload is kept to show where two variants differ: its first fields, and the beginning of each."""

MAX_KEY_CHARS = 512

_CUT_OFF = " " * MAX_SCALAR_CHARS

_EXPONENT = 40
"""Numbers beyond 10 to this power keep their spelling: nobody's amount, and dear to write out."""

_SHORT = 20

_NUMBER_CHARS = 40
_NUMBER_DIGITS = 18
"""Numbers that are longer or larger are compared as texts, and add to no sum: they are nobody's amount either."""

Identity = tuple[str, str, str, str]
"""A piece of evidence by (leg, source, id, content)."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Deliveries that say the same of a leg under the same id; in JSON an array, because it is read for every leg.

    Attributes:
        leg: which.
        source: who says so.
        id: the event's.
        content: a digest of what it says, however that is spelled.
        time: when it happened there.
        received_at: when Helios first heard of it.
        fields: the payload's own fields by path, as text.
        deliveries: how often it was said.
    """

    leg: str
    source: Source
    id: str
    content: str
    time: datetime
    received_at: datetime
    fields: dict[str, str]
    deliveries: int = 1

    @property
    def identity(self) -> Identity:
        """What makes two deliveries the same piece of evidence."""
        return (self.leg, self.source, self.id, self.content)


class Clue(NamedTuple):
    """A piece of evidence and the story to which it belongs."""

    flow: Flow
    key: str
    evidence: Evidence


class EvidenceSet(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """All evidence of one story.

    Attributes:
        items: sorted by leg and first arrival, at most MAX_VARIANTS a leg.
        overflow: how many more deliveries there were, by leg.
        deferred_until: until when a cloud's silence excuses what it does not tell; None: nothing does.
    """

    items: list[Evidence]
    overflow: dict[str, int] = {}
    deferred_until: datetime | None = None

    def of(self, leg: str) -> list[Evidence]:
        """The evidence of one leg, first arrival first."""
        return [item for item in self.items if item.leg == leg]

    def deliveries(self, leg: str) -> int:
        """How often anything was said of a leg."""
        return sum(item.deliveries for item in self.of(leg)) + self.overflow.get(leg, 0)


class _Wanted(NamedTuple):
    """A leg that an event type tells of, and what to read in it."""

    flow: Flow
    leg: str
    key: list[str]
    fields: list[tuple[str, list[str]]]


class Interest:
    """Knows which events are clues; built once from the declared flows."""

    def __init__(self, flows: Sequence[Flow]) -> None:
        self._wanted: dict[tuple[str, Source], list[_Wanted]] = {}
        for flow in flows:
            for leg in flow.leg:
                fields = [(path, path.split(".")) for path in flow.fields(leg.name)]
                wanted = _Wanted(flow, leg.name, flow.key.split("."), fields)
                for source in [leg.source] if leg.source else SOURCES:
                    self._wanted.setdefault((leg.type, source), []).append(wanted)

    def clues(self, event: Event) -> list[Clue]:
        """What the event says of each story it belongs to; nothing if its payload names none, or can't be taken apart.

        An integer of thousands of digits is JSON, and stored as such; no more than that can be done with it.
        """
        wanted = self._wanted.get((event.type, event.source))
        if wanted is None:
            return []
        try:
            data = exact.decode(event.data)
            content = _digest(data)
        except UNREADABLE:
            return []
        clues = []
        for flow, leg, key_path, paths in wanted:
            key = _text(_at(data, key_path))
            if not key or len(key) > MAX_KEY_CHARS:
                continue
            fields = _scalars(data)
            for path, steps in paths:
                # The scalars have it already, unless it lies deeper, is one of too many, or was cut off.
                if (
                    len(fields.get(path, _CUT_OFF)) >= MAX_SCALAR_CHARS
                    and (text := _text(_at(data, steps))) is not None
                ):
                    fields[path] = text
            evidence = Evidence(
                leg=leg,
                source=event.source,
                id=event.id,
                content=content,
                time=event.time,
                received_at=event.received_at,
                fields=fields,
            )
            clues.append(Clue(flow, key, evidence))
        return clues


def add_up(evidence_sets: Sequence[EvidenceSet]) -> EvidenceSet:
    """All evidence together: the same pieces are counted, and of each leg the first to arrive are kept.

    Args:
        evidence_sets: at least one.
    """
    if len(evidence_sets) == 1:
        return evidence_sets[0]
    every: list[Evidence] = []
    once = True
    for evidence_set in evidence_sets:
        every += evidence_set.items
        once &= not evidence_set.overflow and not evidence_set.deferred_until
    if once and len({item.leg for item in every}) == len(every):
        every.sort(key=_leg)  # nearly always that is all
        return EvidenceSet(items=every)
    deferred_until = max([one.deferred_until for one in evidence_sets if one.deferred_until], default=None)
    items: dict[Identity, Evidence] = {}
    overflow: dict[str, int] = {}
    for evidence_set in evidence_sets:
        for leg, count in evidence_set.overflow.items():
            overflow[leg] = overflow.get(leg, 0) + count
        for item in evidence_set.items:
            identity = item.identity
            known = items.get(identity)
            items[identity] = _both(known, item) if known else item
    if len(items) <= MAX_VARIANTS:
        kept = sorted(items.values(), key=_arrival)
        return EvidenceSet(items=kept, overflow=dict(sorted(overflow.items())), deferred_until=deferred_until)
    kept = []
    for leg, arrived in groupby(sorted(items.values(), key=_arrival), key=_leg):
        told = list(arrived)
        chosen = _chosen(told)
        kept += [item for item in told if item.identity in chosen]
        if more := sum(item.deliveries for item in told if item.identity not in chosen):
            overflow[leg] = overflow.get(leg, 0) + more
    return EvidenceSet(items=kept, overflow=dict(sorted(overflow.items())), deferred_until=deferred_until)


def _chosen(told: list[Evidence]) -> set[Identity]:
    """Which pieces of a leg are kept: the first of each content before what says the same again.

    So no number of repetitions hides a contradiction; and what has once been left out is left out for good, whatever
    is added, or the order of arrival would matter.
    """
    firsts: dict[str, Evidence] = {}
    for item in told:
        firsts.setdefault(item.content, item)
    again = [item for item in told if firsts[item.content] is not item]
    return {item.identity for item in [*firsts.values(), *again][:MAX_VARIANTS]}


def _both(one: Evidence, other: Evidence) -> Evidence:
    first = min(one, other, key=lambda item: (item.received_at, item.time, sorted(item.fields.items())))
    return msgspec.structs.replace(first, deliveries=one.deliveries + other.deliveries)


def _arrival(item: Evidence) -> tuple[str, datetime, str, str, str]:
    return (item.leg, item.received_at, item.source, item.id, item.content)


_leg = attrgetter("leg")


def _number(text: str) -> Decimal | int | str:
    """A JSON number by its value: 10, 10.0 and 1e1 are one."""
    if len(text) <= _SHORT and text[-1] != "0" and "e" not in text and "E" not in text:
        return Decimal(text)  # nearly every number, spelled as it will be
    try:
        value = Decimal(text)
    except InvalidOperation:  # an exponent that is a number of many digits itself
        return text
    if not -_EXPONENT < value.adjusted() < _EXPONENT:
        return text
    whole = int(value)
    return whole if value == whole else value.normalize()


exact = msgspec.json.Decoder(float_hook=_number)
_canonical = msgspec.json.Encoder(order="sorted")
_digest_of_nothing = hashlib.blake2b(digest_size=8)


def _digest(data: Any) -> str:
    """Of the payload alone: who publishes a fact twice gives the second one another id and another time."""
    digest = _digest_of_nothing.copy()  # a third cheaper than a new one
    digest.update(_canonical.encode(data))
    return digest.hexdigest()


def _at(data: Any, steps: list[str]) -> Any:
    for name in steps:
        if not isinstance(data, dict):
            return None
        data = data.get(name)
    return data


def _text(value: Any) -> str | None:
    """A scalar as text; None for anything else."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]  # which is what was asked
    if kind is int:
        return str(value)
    if kind is Decimal:
        return f"{value:f}"
    if kind is bool:
        return "true" if value else "false"
    return None


def _scalars(data: Any) -> dict[str, str]:
    if not isinstance(data, dict):
        return {}
    few = data.items() if len(data) <= MAX_SCALARS else islice(data.items(), MAX_SCALARS)
    return {
        name: text[:MAX_SCALAR_CHARS]
        for name, value in few
        if (text := value if type(value) is str else _text(value)) is not None
    }


def as_number(text: str) -> Decimal | None:
    """The number that a text spells; None if it spells none, or an absurd one."""
    if len(text) > _NUMBER_CHARS:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() and -_NUMBER_DIGITS < value.adjusted() < _NUMBER_DIGITS else None
