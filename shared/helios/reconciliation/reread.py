"""The evidence of an instance after stored events were read again by other rules than those that had recorded it."""

from collections.abc import Collection

from msgspec.structs import replace

from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.evidence import Evidence, EvidenceSet, Identity, precedes_overflow


def complete(
    evaluator: FlowEvaluator,
    recorded: EvidenceSet,
    reread: EvidenceSet,
    *,
    dropped: Collection[Identity] = (),
    is_older: bool = False,
) -> EvidenceSet:
    """The recorded evidence with its fields as they were read again, and the evidence that it lacks.

    To do it twice changes nothing: a piece that both have gets the larger number of deliveries, and the first arrival.
    Each of the two may have seen some that the other has not, if a job has started without its state.

    Args:
        evaluator: has the rules of now.
        recorded: what the deliveries have shown so far.
        reread: what the stored events, or another record of the instance, show.
        dropped: recorded evidence that does not belong to its leg any more.
        is_older: whether ``reread`` follows from earlier rules than those of the evaluator: it then lacks fields.
    """
    legs = {leg.name: leg for leg in evaluator.flow.leg}

    def belongs(item: Evidence) -> bool:
        leg = legs.get(item.leg)
        return leg is not None and leg.source in {None, item.source} and item.identity not in dropped

    fresh = {item.identity: item for item in reread.items if belongs(item)}
    items = []
    for item in filter(belongs, recorded.items):
        again = fresh.pop(item.identity, None)
        items.append(_combined(item, again, is_older=is_older) if again else item)
    # If a leg has overflowed, its overflow already counts the evidence that is not listed.
    items += [item for item in fresh.values() if item.leg not in recorded.overflow or precedes_overflow(item, recorded)]
    overflow = {
        name: max(recorded.overflow.get(name, 0), reread.overflow.get(name, 0))
        for name in legs
        if name in recorded.overflow or name in reread.overflow
    }
    return evaluator.merge([replace(recorded, items=[], overflow=overflow), EvidenceSet(items=items)])


def _combined(item: Evidence, again: Evidence, *, is_older: bool) -> Evidence:
    first = again if again.arrived_at < item.arrived_at else item
    deliveries = max(item.deliveries, again.deliveries)
    return replace(first, deliveries=deliveries, fields=_fields(item, again, is_older=is_older))


def _fields(item: Evidence, again: Evidence, *, is_older: bool) -> dict[str, str]:
    """The fields of a piece. Earlier rules have cut off some texts that the rules of now need whole."""
    if not is_older:
        return again.fields
    longer = {path: text for path, text in again.fields.items() if len(text) > len(item.fields.get(path, ""))}
    return item.fields | longer
