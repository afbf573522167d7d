"""What has to be done now and then, whether or not anything arrives."""

import logging
from datetime import datetime, timedelta

from helios.ports import EventStore

log = logging.getLogger("helios.sweep")

FRAMES_KEPT = timedelta(hours=1)
"""How long a client that was away may still catch up from frames."""

FRAMES_KEPT_AT_LAST = timedelta(days=7)
"""How long frames wait for a consumer that has not read them: Kafka may be away for a week."""

BATCH = 10_000
"""Rows removed by one statement, so that none holds its locks for long."""


def sweep(now: datetime, *, store: EventStore) -> int:
    """Remove the frames that nobody can ask for any more; safe to run twice at once.

    Returns:
        How many were removed.

    Raises:
        Retryable: the store is away; the next sweep does it.
    """
    removed = 0
    while batch := store.remove_frames(before=now - FRAMES_KEPT, at_last=now - FRAMES_KEPT_AT_LAST, limit=BATCH):
        removed += batch
    log.info("swept", extra={"frames": removed})
    return removed
