"""The legs of a declared flow, and what can be wrong with their declaration."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from helios.model.balances import MANIFEST_TYPE
from helios.model.events import MAX_NAME_CHARS
from helios.model.sources import SourceName
from helios.reconciliation.expression import Expression, ExpressionError, Number, parse, reads
from helios.sources.registry import Sources

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Path_ = Annotated[str, Meta(pattern=r"^[^.]+(\.[^.]+)*$", max_length=MAX_NAME_CHARS)]
"""A path into the payload: names joined by dots."""

MAX_EXPRESSION_CHARS = 400
ExpressionText = Annotated[str, Meta(min_length=1, max_length=MAX_EXPRESSION_CHARS)]
"""An expression over legs; its grammar is in ``expression``."""

Bound = Annotated[int, Meta(ge=0, le=500)] | ExpressionText
"""A number of parts: a whole number, or an expression."""

MAX_VARIANTS = 8
"""Maximum pieces of evidence stored per leg, contradictions first. Deliveries beyond them are only counted."""

Fault = tuple[str, str]
"""What is wrong with a declaration, as (key, reason)."""


class Parts(NamedTuple):
    """How the parts of a leg are identified, and how much evidence of them is stored.

    Attributes:
        id_path: the path of the part's own id.
        max_evidence: the most pieces of evidence that are stored.
    """

    id_path: str
    max_evidence: int


class Leg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cloud's part of a flow.

    Attributes:
        name: the name of the leg in issues.
        type: the event type that belongs to the leg.
        source: the only cloud that may send the leg; None: any cloud.
        optional: whether an instance is complete without the leg.
        verb: what the cloud did, in the past tense, for the text of issues: ``ordered`` gives "AWS ordered 3".
        key: the path of the instance's key in the payload of this leg, or several of which the first with a value
            counts; None: that of the flow.
        many: whether the leg has several parts, such as parcels or instalments.
        id: the path of a part's own id; events with the same id are deliveries of one part.
        at_least: the fewest parts with which the leg is complete; None: 1.
        at_most: the most parts; None: any number.
        count: the exact number of parts, instead of ``at_least`` and ``at_most``.
        max_evidence: the most pieces of evidence stored of a leg with several parts.
        currency: the path of the currency of this leg's amounts.
        when: the leg is expected only if all of these legs have arrived.
        unless: the leg is not expected if any of these legs has arrived.
    """

    name: Name
    type: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
    source: SourceName | None = None
    optional: bool = False
    verb: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    key: Path_ | Annotated[tuple[Path_, ...], Meta(min_length=1, max_length=8)] | None = None
    many: bool = False
    id: Path_ | None = None
    at_least: Bound | None = None
    at_most: Bound | None = None
    count: Bound | None = None
    max_evidence: Annotated[int, Meta(ge=MAX_VARIANTS, le=500)] = 64
    currency: Path_ | None = None
    when: tuple[Name, ...] = ()
    unless: tuple[Name, ...] = ()

    @property
    def is_conditional(self) -> bool:
        """Whether other legs decide if this one is expected."""
        return bool(self.when or self.unless)

    @property
    def bounds(self) -> dict[str, Bound]:
        """The declared numbers of parts by their key."""
        declared = {"at_least": self.at_least, "at_most": self.at_most, "count": self.count}
        return {key: bound for key, bound in declared.items() if bound is not None}

    def bound_reads(self) -> Iterator[tuple[str, str]]:
        """What the numbers of parts read, as (leg, path)."""
        for bound in self.bounds.values():
            yield from reads(bound_expression(bound))


def bound_expression(bound: Bound) -> Expression:
    """A number of parts as an expression."""
    return Number(Decimal(bound)) if isinstance(bound, int) else parse(bound)


def leg_fault(legs: Sequence[Leg], sources: Sources) -> Fault | None:
    """The first fault of the legs of one flow; None if there is none. Each leg has the right shape."""
    names = [leg.name for leg in legs]
    for number, leg in enumerate(legs):
        if leg.name in names[:number]:
            return f"leg[{number}].name", f"{leg.name!r} is already the name of another leg"
        if leg.source and leg.source not in sources:
            return f"leg[{number}].source", f"{leg.source!r} is not declared: {sources.expected()}"
        for other in legs[:number]:
            if other.type == leg.type and (other.source == leg.source or None in {other.source, leg.source}):
                return f"leg[{number}].type", f"an event of type {leg.type!r} could belong to {other.name!r} too"
        if fault := _type_fault(leg) or _parts_fault(leg) or _condition_fault(leg, names) or _bound_fault(leg, names):
            key, reason = fault
            return f"leg[{number}].{key}", f"leg {leg.name!r}: {reason}"
    if all(leg.optional or leg.when for leg in legs):
        return "leg", "at least one leg must be neither optional nor have when"
    return None


def _type_fault(leg: Leg) -> Fault | None:
    return ("type", "manifests belong to no flow: name another type") if leg.type == MANIFEST_TYPE else None


def _parts_fault(leg: Leg) -> Fault | None:
    if leg.many and leg.id is None:
        return "many", 'a leg with many = true needs the path of its own id: add id = "parcel.number" or the like'
    if not leg.many:
        for key in ("id", *leg.bounds):
            if getattr(leg, key) is not None:
                return key, "only a leg with many = true has this key: add many = true, or remove it"
    if leg.optional and (leg.at_least is not None or leg.count is not None):
        return "optional", "an optional leg has neither at_least nor count: remove optional, or use at_most"
    return _range_fault(leg)


def _range_fault(leg: Leg) -> Fault | None:
    if leg.count is not None and len(leg.bounds) > 1:
        return "count", "count is exact: remove at_least and at_most, or remove count"
    if isinstance(leg.at_least, int) and isinstance(leg.at_most, int) and leg.at_least > leg.at_most:
        return "at_most", f"must be at least {leg.at_least}, which at_least names"
    for key, bound in leg.bounds.items():
        if isinstance(bound, int) and bound >= leg.max_evidence:
            return key, f"must be less than max_evidence, which is {leg.max_evidence}: raise max_evidence"
    return None


def _condition_fault(leg: Leg, names: Sequence[str]) -> Fault | None:
    for key, others in (("when", leg.when), ("unless", leg.unless)):
        for other in others:
            if other == leg.name:
                return key, "a leg can't depend on itself: name another leg"
            if other not in names:
                return key, unknown_leg(other, names)
    return None


def _bound_fault(leg: Leg, names: Sequence[str]) -> Fault | None:
    for key, bound in leg.bounds.items():
        if isinstance(bound, int):
            continue
        if fault := expression_fault(bound, names):
            return key, fault
        if leg.name in {name for name, _ in leg.bound_reads()}:
            return key, "the number of its parts can't depend on the leg itself: read another leg"
    return None


def unknown_leg(name: str, names: Sequence[str]) -> str:
    """What to do about a name that is not a leg."""
    return f"{name!r} is not a leg of this flow: use one of {', '.join(names)}"


def expression_fault(text: str, names: Sequence[str]) -> str | None:
    """What is wrong with an expression over the legs of these names; None if nothing is."""
    try:
        expression = parse(text)
    except ExpressionError as error:
        return f"{text!r} is not an expression over leg.field, where leg is one of {', '.join(names)}: {error}"
    for leg, path in reads(expression):
        if leg not in names:
            return f"{text!r}: {unknown_leg(leg, names)}"
        if other := next((name for name in names if f"-{name}." in path), None):
            return f"{text!r}: put a blank on both sides of - before {other!r}"
    return None
