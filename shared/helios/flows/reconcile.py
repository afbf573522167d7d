"""From outcomes to verdicts: each batch adds its evidence to the stories it tells of, in its own transaction."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from helios.event import Outcome
from helios.ledger import MAX_FRAME_EVENTS, FlowChange
from helios.ports import Transaction
from helios.reconcile.declaration import Flow
from helios.reconcile.evidence import Interest, Ledger, add_up
from helios.reconcile.record import FlowKey, FlowRecord, differences, record
from helios.reconcile.rows import FlowStatus
from helios.reconcile.verdict import Judge


class Changes(NamedTuple):
    """What a batch or a sweep changed, as a frame tells it.

    Attributes:
        flows: the last stories whose verdict or issues have changed, at most MAX_FRAME_EVENTS.
        statuses: by flow, how many more or fewer stories have each verdict than before; exact.
    """

    flows: list[FlowChange]
    statuses: dict[str, dict[FlowStatus, int]]


Judged = tuple[FlowRecord | None, FlowRecord]
"""A story before and after."""


class Reconciler:
    """Knows the declared flows, and keeps their stories up to date.

    Attributes:
        judges: who judges the stories of each flow, by its name.
    """

    def __init__(self, flows: Sequence[Flow]) -> None:
        self.judges = {flow.name: Judge(flow) for flow in flows}
        self._interest = Interest(flows)

    def merge(self, outcomes: Sequence[Outcome], transaction: Transaction) -> Changes:
        """Add the evidence in a batch: at most four statements, however many stories it touches.

        Args:
            outcomes: of every delivery; those that were rejected are no evidence.
            transaction: the one that stores the batch, before it counts: others wait for who has counted.
        """
        gathered: dict[FlowKey, list[Ledger]] = defaultdict(list)
        now = None
        for outcome in outcomes:
            if event := outcome.event:
                now = max(now or event.received_at, event.received_at)
                for clue in self._interest.clues(event):
                    gathered[clue.flow.name, clue.key].append(Ledger(pieces=[clue.evidence]))
        if not gathered or now is None:
            return Changes([], {})
        fresh = [
            record(self.judges[name], key, add_up(gathered[name, key]), now=now)
            # Sorted, because concurrent writers of the same stories in different order deadlock.
            for name, key in sorted(gathered)
        ]
        known = transaction.open_flows(fresh)
        judged = [self._joined(known.get(one.identity), one, now) for one in fresh]
        transaction.write_flows([after for before, after in judged if before])
        return _counted(judged, transaction)

    def expire(self, now: datetime, transaction: Transaction, *, limit: int) -> tuple[int, Changes]:
        """Judge again at most ``limit`` stories whose deadline has passed; how many there were, and what changed."""
        overdue = transaction.overdue_flows(self.judges.keys(), now=now, limit=limit)
        judged: list[Judged] = [
            (before, record(self.judges[before.flow], before.key, before.ledger, now=now)) for before in overdue
        ]
        transaction.write_flows([after for _, after in judged])
        return len(judged), _counted(judged, transaction)

    def _joined(self, before: FlowRecord | None, fresh: FlowRecord, now: datetime) -> Judged:
        if before is None:
            return None, fresh
        # What was once found missing in vain is not waited for again.
        now = now if before.waiting else max(now, before.deadline)
        ledger = add_up([before.ledger, fresh.ledger])
        return before, record(self.judges[fresh.flow], fresh.key, ledger, now=now)


def _counted(judged: Sequence[Judged], transaction: Transaction) -> Changes:
    """Bring the sums up to date, and tell what has changed."""
    if counts := differences(judged):
        transaction.count_flows(counts)
    statuses: dict[str, Counter[FlowStatus]] = defaultdict(Counter)
    for before, after in judged:
        statuses[after.flow][after.status] += 1
        if before:
            statuses[after.flow][before.status] -= 1
    changed = [
        _change(before, after)
        for before, after in judged
        if before is None or (before.status, before.issues) != (after.status, after.issues)
    ]
    exact = {flow: {status: count for status, count in by.items() if count} for flow, by in statuses.items()}
    return Changes(changed[-MAX_FRAME_EVENTS:], {flow: by for flow, by in exact.items() if by})


def _change(before: FlowRecord | None, after: FlowRecord) -> FlowChange:
    return FlowChange(
        flow=after.flow,
        key=after.key,
        status=after.status,
        previous=before.status if before else None,
        issues=after.issues,
        amount=after.amount,
        opened_at=after.opened_at,
    )
