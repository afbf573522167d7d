"""From outcomes to verdicts: each batch adds its evidence to the stories it tells of, in its own transaction."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
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


_NO_TIME = datetime.min.replace(tzinfo=UTC)

Judged = tuple[FlowRecord | None, FlowRecord]
"""A story before and after."""


class Gathered(NamedTuple):
    """What a batch says of stories.

    Attributes:
        ledgers: its evidence of each, sorted by story.
        now: when the last of it was received.
        kept: waits, and gives those of the stories that are kept already.
    """

    ledgers: dict[FlowKey, Ledger]
    now: datetime
    kept: Callable[[], dict[FlowKey, FlowRecord]]


class Reconciler:
    """Knows the declared flows, and keeps their stories up to date.

    A batch costs three statements, however many stories it touches, and five if others touch them at the same time.
    They come in steps (gather, judge, settle), so that the database works while the next one is prepared.

    Attributes:
        judges: who judges the stories of each flow, by its name.
    """

    def __init__(self, flows: Sequence[Flow]) -> None:
        self.judges = {flow.name: Judge(flow) for flow in flows}
        self._interest = Interest(flows)

    def gather(self, events: Sequence[Event], transaction: Transaction) -> Gathered:
        """Read what a batch says of stories, and begin to look for these.

        Args:
            events: of every delivery that could be read, duplicates and contradictions included.
            transaction: the one that stores the batch.
        """
        told: dict[FlowKey, list[Ledger]] = defaultdict(list)
        for event in events:
            for clue in self._interest.clues(event):
                told[clue.flow.name, clue.key].append(Ledger(pieces=[clue.evidence]))
        # Sorted, because concurrent writers of the same stories in different order deadlock.
        ledgers = {key: add_up(told[key]) for key in sorted(told)}
        now = max((event.received_at for event in events), default=_NO_TIME)
        return Gathered(ledgers, now, transaction.find_flows(ledgers.keys()))

    def judge(
        self, ledgers: Mapping[FlowKey, Ledger], kept: Mapping[FlowKey, FlowRecord], now: datetime
    ) -> list[Judged]:
        """Add evidence to its stories."""
        return [(kept.get(key), self._judge(key, kept.get(key), ledger, now)) for key, ledger in ledgers.items()]

    def settle(
        self, gathered: Gathered, judged: list[Judged], written: set[FlowKey], transaction: Transaction
    ) -> Changes:
        """Judge again what somebody else has written meanwhile, and count.

        Args:
            gathered: in this transaction.
            judged: from that.
            written: which of these could be written.
            transaction: has not counted yet: others wait for who has counted.
        """
        if len(written) < len(judged):
            stale = {key: ledger for key, ledger in gathered.ledgers.items() if key not in written}
            again = self.judge(stale, transaction.find_flows(stale.keys())(), gathered.now)
            transaction.write_flows([after for _, after in again])
            judged = [one for one in judged if one[1].identity in written] + again
        return _counted(judged, transaction)

    def expire(self, now: datetime, transaction: Transaction, *, limit: int) -> tuple[int, Changes]:
        """Judge again at most ``limit`` stories whose deadline has passed; how many there were, and what changed."""
        overdue = transaction.overdue_flows(self.judges.keys(), now=now, limit=limit)
        judged: list[Judged] = [(one, self._record(one.identity, one.ledger, now, one.version + 1)) for one in overdue]
        transaction.write_flows([after for _, after in judged])
        return len(judged), _counted(judged, transaction)

    def _judge(self, key: FlowKey, before: FlowRecord | None, ledger: Ledger, now: datetime) -> FlowRecord:
        if before is None:
            return self._record(key, ledger, now, 1)
        # What was once found missing in vain is not waited for again.
        now = now if before.waiting else max(now, before.deadline)
        return self._record(key, add_up([before.ledger, ledger]), now, before.version + 1)

    def _record(self, identity: FlowKey, ledger: Ledger, now: datetime, version: int) -> FlowRecord:
        flow, key = identity
        return record(self.judges[flow], key, ledger, now=now, version=version)


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
