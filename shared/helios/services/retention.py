"""Removes what is older than its limit: rows in small batches, events by whole partitions."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Final

from helios.errors import Rejected
from helios.model.retention import HOURS_FOR, MAX_AHEAD, Retention, Topic
from helios.ports.retention import RetentionStore

log = logging.getLogger("helios.retention")

BATCH: Final = 5_000
"""Rows removed by one statement, so that no statement holds its locks for long."""


class RetentionJob:
    """Keeps the store within the limits."""

    def __init__(self, retention: Retention, store: RetentionStore) -> None:
        self._retention = retention
        self._store = store

    def remove_expired(self, now: datetime, *, seconds: float = math.inf) -> int:
        """Remove the rows that are older than their limit, and return how many. Events are left to ``drop_expired``.

        The topics take turns, a batch each, so that a topic with many expired rows delays no other.

        Args:
            now: decides what has expired.
            seconds: the time after which no further turn begins. The next run does the rest: a limit that was set late
                must not occupy the sweep.

        Raises:
            Retryable: the store can't be reached. The next run does the rest.
        """
        deadline = time.monotonic() + seconds
        statements, count = list(self._statements(now)), 0
        while statements:
            batches = [statement() for statement in statements]
            count += sum(batches)
            statements = [statement for statement, rows in zip(statements, batches, strict=True) if rows >= BATCH]
            if time.monotonic() >= deadline:
                break
        if count:
            log.info("removed expired rows", extra={"rows": count, "finished": not statements})
        return count

    def drop_expired(self, now: datetime) -> list[str]:
        """Drop the partitions whose events are all older than their limit, and return their names.

        Each is compared with the archive before, unless an earlier comparison still holds. A partition of which the
        archive lacks an event stays, and the log says why.

        Raises:
            Retryable: the store can't be reached. The next run does the rest.
        """
        if not (limit := self._retention.payloads):
            return []
        dropped, archived = [], self._retention.events is not None
        for name in self._store.expired_partitions(now - limit):
            try:
                if archived:
                    self._store.compare_partition(name)
                self._store.drop_partition(name, archived=archived)
            except Rejected as fault:
                log.warning("expired partition is not dropped", extra={"partition": name, "reason": fault.reason})
            else:
                dropped.append(name)
        if dropped:
            log.info("dropped expired partitions", extra={"partitions": dropped})
        return dropped

    def _statements(self, now: datetime) -> Iterator[Callable[[], int]]:
        """What makes the store smaller: each removes or condenses a batch of rows, and returns how many."""
        for topic, before in _row_limits(now, self._retention):
            yield partial(self._store.remove, topic, before=before, limit=BATCH)
        if limit := self._retention.counts:
            yield partial(self._store.condense, "hour", before=now - limit, limit=BATCH)
            yield partial(self._store.condense, "day", before=now - HOURS_FOR * limit, limit=BATCH)


def _row_limits(now: datetime, retention: Retention) -> Iterator[tuple[Topic, datetime]]:
    """The topics with a limit, and the time before which their rows are removed."""
    if retention.payloads:
        yield "events", now - retention.payloads
    if retention.ids:
        yield "ids", now - retention.ids - MAX_AHEAD
    if retention.flows:
        yield "flows", now - retention.flows
    if retention.dead_letters:
        yield "dead_letters", now - retention.dead_letters
    if retention.audit:
        yield "audit", now - retention.audit
