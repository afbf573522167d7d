"""Balances what producers say they have published with what arrived, by source, type and minute of the events' time.

Ingest only stores what manifests declare. One process at a time counts the events of the minutes that manifests name,
once their grace period is over: those that arrived since it last counted, through the index by time of receipt. So no
batch writes a row that other batches write, and events of producers without manifests cost nothing.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from helios.model.balances import COUNTED_FOR
from helios.ports.balances import BalanceStore, BalanceTurn

log = logging.getLogger("helios.balances")

SETTLED_AFTER: Final = timedelta(minutes=6)
"""How long after its receipt an event can become visible at last: a transaction takes at most five minutes, the largest
HELIOS_DATABASE_TIMEOUT_SECONDS. What was received since is counted again each time."""

PERIOD: Final = timedelta(minutes=10)
"""The longest period of receipt that one statement counts, so that no statement takes long."""

MAX_PERIODS: Final = 30
"""Periods in one run. A manifest that arrives hours late needs more of them, and the next run goes on."""

BATCH: Final = 5_000
"""Rows of manifests in one transaction, so that no transaction holds their locks for long."""

MAX_AHEAD: Final = timedelta(days=2)
"""Repetitions of events further in the future than this are not counted."""


class BalanceJob:
    """Keeps the balances up to date, and passes what is missing on to the incidents."""

    def __init__(
        self,
        store: BalanceStore,
        *,
        grace: timedelta,
        arrived_until: Callable[[], datetime | None] | None = None,
    ) -> None:
        """Take the store.

        Args:
            store: holds the balances.
            grace: how long after its minute a balance is complete.
            arrived_until: the time before which all that was received is stored, None while it is not known; the
                argument is None where it is stored as it is received.
        """
        self._store = store
        self._grace = grace
        self._arrived_until = arrived_until

    def run(self, now: datetime) -> None:
        """Count what arrived, and compare it with what was published; nothing if another process does it now.

        Raises:
            Retryable: the store can't be reached. What was counted before stays; the next run does the rest.
        """
        if self._arrived_until:
            until = self._arrived_until()
            if until is None:
                return
            now = min(now, until)
        at_last = now - COUNTED_FOR
        while self._store.open(at_first=at_last, grace=self._grace, limit=BATCH) == BATCH:
            pass
        for _ in range(MAX_PERIODS):
            with self._store.turn() as turn:
                if turn is None or self._is_counted(turn, now, at_last):
                    return
        log.info("the manifests name events that arrived long ago: the next run counts on")

    def _is_counted(self, turn: BalanceTurn, now: datetime, at_last: datetime) -> bool:
        """Count one period; whether it was the last one, after which the balances are compared."""
        turn.forget_repeats(before=at_last - PERIOD, after=now + MAX_AHEAD, limit=BATCH)
        turn.forget_arrivals(before=at_last - self._grace - PERIOD, limit=BATCH)
        since = turn.oldest(now)
        if since is None:
            return True
        until = min(since + PERIOD, now)
        turn.count(now, since=since, until=until, settled_before=min(until, now - SETTLED_AFTER))
        if until < now:
            return False
        changes = turn.balance(now, at_last=at_last)
        turn.report(changes)
        if changes:
            missing = sum(max(change.number, 0) for change in changes)
            arrived = missing - sum(change.number for change in changes)
            log.warning("drift", extra={"balances": len(changes), "missing": missing, "arrived": arrived})
        return True
