"""What follows from the evidence: a pure function of it, of the declaration, and of whether the deadline has passed."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import product

from helios.reconcile.declaration import Flow, Leg, Rule
from helios.reconcile.evidence import Evidence, Ledger, as_number
from helios.reconcile.rows import FlowIssue, FlowLeg, FlowRow, FlowStatus, LegState


def judge(flow: Flow, key: str, ledger: Ledger, *, now: datetime) -> FlowRow:
    """The verdict on a story of which there is at least one piece of evidence.

    Only ``received_at`` decides what is late: the clouds' clocks may be wrong.

    Args:
        flow: what was declared.
        key: the story's.
        ledger: all evidence of it.
        now: decides whether the deadline has passed, where a leg is waited for.
    """
    opened_at = min(piece.received_at for piece in ledger.pieces)
    in_time = opened_at + timedelta(seconds=flow.window_seconds)
    deadline = in_time + timedelta(seconds=flow.grace_seconds)
    legs = [_leg(leg, ledger, in_time=in_time, overdue=now >= deadline) for leg in flow.leg]
    issues = [
        *(_missing(leg) for leg in legs if leg.state == "missing"),
        *(_late(leg, in_time) for leg in legs if leg.state == "late"),
        *(issue for leg in flow.leg for issue in _repeated(leg, ledger)),
        *(issue for rule in flow.rule for issue in _broken(rule, ledger)),
    ]
    status = _status(legs, issues)
    heard = [leg.received_at for leg in legs if leg.received_at and not leg.optional]
    settled_at = deadline if status == "incomplete" else max(heard, default=opened_at) if status != "open" else None
    matched = status in {"matched", "matched_late"}
    return FlowRow(
        flow=flow.name,
        key=key,
        status=status,
        amount=_amount(flow, ledger),
        opened_at=opened_at,
        deadline=deadline,
        settled_at=settled_at,
        updated_at=max(piece.received_at for piece in ledger.pieces),
        time_to_match_seconds=(settled_at - opened_at).total_seconds() if matched and settled_at else None,
        legs=legs,
        issues=issues,
    )


def is_waiting(row: FlowRow) -> bool:
    """Whether the deadline will still change something."""
    return any(leg.state == "pending" and not leg.optional for leg in row.legs)


def _leg(leg: Leg, ledger: Ledger, *, in_time: datetime, overdue: bool) -> FlowLeg:
    pieces = ledger.of(leg.name)
    first = pieces[0] if pieces else None
    state: LegState
    if first:
        state = "present" if first.received_at <= in_time else "late"
    else:
        state = "missing" if overdue and not leg.optional else "pending"
    return FlowLeg(
        name=leg.name,
        source=first.source if first else leg.source,
        type=leg.type,
        optional=leg.optional,
        state=state,
        event_id=first.id if first else None,
        time=first.time if first else None,
        received_at=first.received_at if first else None,
        fields=first.fields if first else {},
        deliveries=ledger.deliveries(leg.name),
    )


def _status(legs: list[FlowLeg], issues: list[FlowIssue]) -> FlowStatus:
    kinds = {issue.kind for issue in issues}
    required = {leg.state for leg in legs if not leg.optional}
    if "mismatch" in kinds:
        return "mismatched"
    if "missing" in required:
        return "incomplete"
    if "pending" in required:
        return "open"
    return "matched_late" if "late" in required else "matched"


def _missing(leg: FlowLeg) -> FlowIssue:
    who = leg.source or "any cloud"
    return FlowIssue(
        kind="missing", legs=[leg.name], field=None, values={}, detail=f"{leg.name}: {leg.type} from {who} never came"
    )


def _late(leg: FlowLeg, in_time: datetime) -> FlowIssue:
    seconds = (leg.received_at - in_time).total_seconds() if leg.received_at else 0.0
    detail = f"{leg.name}: {leg.source} spoke {seconds:.1f} s after the window"
    return FlowIssue(kind="late", legs=[leg.name], field=None, values={leg.name: f"{seconds:.3f}"}, detail=detail)


def _repeated(leg: Leg, ledger: Ledger) -> Iterator[FlowIssue]:
    """A leg that was told of more than once: in the same words, in others, or both."""
    pieces = ledger.of(leg.name)
    by_content: dict[str, Evidence] = {}
    for piece in pieces:
        by_content.setdefault(piece.content, piece)
    variants = list(by_content.values())
    deliveries = ledger.deliveries(leg.name)
    if deliveries > len(variants):
        yield FlowIssue(
            kind="duplicate",
            legs=[leg.name],
            field=None,
            values={leg.name: str(deliveries)},
            detail=f"{leg.name}: {pieces[0].source} told of it {deliveries} times",
        )
    if len(variants) > 1:
        names = sorted({name for piece in variants for name in piece.fields})
        differing = [name for name in names if len({piece.fields.get(name) for piece in variants}) > 1]
        field = differing[0] if differing else None
        said = [_said(piece, field) for piece in variants]
        yield FlowIssue(
            kind="contradictory",
            legs=[leg.name],
            field=field,
            values={str(number): text for number, text in enumerate(said, start=1)},
            detail=f"{leg.name}: {pieces[0].source} contradicts itself: {field or 'content'} is {' and '.join(said)}",
        )


def _said(piece: Evidence, field: str | None) -> str:
    return piece.fields.get(field, "not there") if field else piece.id


def _broken(rule: Rule, ledger: Ledger) -> Iterator[FlowIssue]:
    """The rule, if any two variants of its legs break it; a side that nobody has told is no breach yet."""
    (one, one_path), (other, other_path) = rule.sides
    for first, second in product(ledger.of(one), ledger.of(other)):
        left, right = first.fields.get(one_path), second.fields.get(other_path)
        if not _agree(left, right, rule.tolerance):
            yield FlowIssue(
                kind="mismatch",
                legs=[one, other],
                field=one_path,
                values={one: left or "not there", other: right or "not there"},
                detail=f"{one_path}: {one} on {first.source} says {left or 'nothing'}, "
                f"{other} on {second.source} says {right or 'nothing'}",
            )
            return


def _agree(left: str | None, right: str | None, tolerance: Decimal) -> bool:
    if left is None or right is None:
        return left == right
    one, other = as_number(left), as_number(right)
    if one is None or other is None:
        return left == right
    return abs(one - other) <= tolerance


def _amount(flow: Flow, ledger: Ledger) -> Decimal | None:
    for text in flow.amount:
        leg, _, path = text.partition(".")
        for piece in ledger.of(leg):
            if (number := as_number(piece.fields.get(path, ""))) is not None:
                return number
    return None
