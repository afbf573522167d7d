"""From outcomes to verdicts: each batch adds its evidence to the stories it tells of, in its own transaction."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from helios.event import Event
from helios.ledger import MAX_FRAME_EVENTS, FlowChange
from helios.ports import Transaction
from helios.reconcile.declaration import Flow
from helios.reconcile.evidence import Interest, Ledger, add_up
from helios.reconcile.record import FlowKey, FlowRecord, by_status, differences, record
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


class Gathered(NamedTuple):
    """What a batch says of stories.

    Attributes:
        ledgers: its evidence of each, sorted by story.
        now: when the last of it was received.
        known: waits, and tells which of the stories are kept already.
    """

    ledgers: dict[FlowKey, Ledger]
    now: datetime
    known: Callable[[], set[FlowKey]]


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

    def gather(self, events: Sequence[Event], transaction: Transaction) -> Gathered | None:
        """Read what a batch says of stories, and begin to look for them; None when it says nothing.

        Args:
            events: of every delivery that could be read, duplicates and contradictions included.
            transaction: the one that stores the batch.
        """
        told: dict[FlowKey, list[Ledger]] = defaultdict(list)
        for event in events:
            for clue in self._interest.clues(event):
                told[clue.flow.name, clue.key].append(Ledger(pieces=[clue.evidence]))
        if not told:
            return None
        # Sorted, because concurrent writers of the same stories in different order deadlock.
        ledgers = {key: add_up(told[key]) for key in sorted(told)}
        now = max(event.received_at for event in events)
        return Gathered(ledgers, now, transaction.known_flows(ledgers.keys()))

    def merge(self, gathered: Gathered | None, transaction: Transaction) -> Changes:
        """Add a batch's evidence to its stories: at most five statements, however many it touches.

        Args:
            gathered: in this transaction.
            transaction: has not counted yet: others wait for who has counted.
        """
        if gathered is None:
            return Changes([], {})
        ledgers, now, known = gathered.ledgers, gathered.now, gathered.known()
        fresh = [self._record(key, ledger, now) for key, ledger in ledgers.items() if key not in known]
        new = transaction.insert_flows(fresh)
        locked = transaction.lock_flows([key for key in ledgers if key not in new])
        judged: list[Judged] = [(None, one) for one in fresh if one.identity in new]
        joined = [(before, self._joined(before, ledgers[key], now)) for key, before in locked.items()]
        transaction.write_flows([after for _, after in joined])
        return _counted([*judged, *joined], transaction)

    def expire(self, now: datetime, transaction: Transaction, *, limit: int) -> tuple[int, Changes]:
        """Judge again at most ``limit`` stories whose deadline has passed; how many there were, and what changed."""
        overdue = transaction.overdue_flows(self.judges.keys(), now=now, limit=limit)
        judged: list[Judged] = [(before, self._record(before.identity, before.ledger, now)) for before in overdue]
        transaction.write_flows([after for _, after in judged])
        return len(judged), _counted(judged, transaction)

    def _joined(self, before: FlowRecord, ledger: Ledger, now: datetime) -> FlowRecord:
        # What was once found missing in vain is not waited for again.
        now = now if before.waiting else max(now, before.deadline)
        return self._record(before.identity, add_up([before.ledger, ledger]), now)

    def _record(self, identity: FlowKey, ledger: Ledger, now: datetime) -> FlowRecord:
        flow, key = identity
        return record(self.judges[flow], key, ledger, now=now)


def _counted(judged: Sequence[Judged], transaction: Transaction) -> Changes:
    """Bring the sums up to date, and tell what has changed."""
    if counts := differences(judged):
        transaction.count_flows(counts)
    changed = (
        _change(before, after)
        for before, after in reversed(judged)
        if before is None or before.status != after.status or before.issues != after.issues
    )
    return Changes([*islice(changed, MAX_FRAME_EVENTS)][::-1], by_status(counts))


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
