"""What has to be done now and then, whether or not anything arrives."""

import logging
from datetime import datetime, timedelta
from typing import NamedTuple

from helios.model.stream import Frame
from helios.notify import notify_best_effort
from helios.ports.stream import Notifier
from helios.ports.unit_of_work import EventStore
from helios.services.reconciler import Reconciler

log = logging.getLogger("helios.sweep")

FRAMES_KEPT = timedelta(hours=1)
"""How long a client that was away may still catch up from frames."""

FRAMES_KEPT_AT_LAST = timedelta(days=7)
"""How long frames wait for a consumer that has not read them: Kafka may be away for a week."""

BATCH = 10_000
"""Rows removed by one statement, so that none holds its locks for long."""

FLOW_BATCH = 500
"""Stories judged in one transaction, for the same reason."""


class Swept(NamedTuple):
    """What a sweep did.

    Attributes:
        frames: how many were removed.
        flows: how many stories were judged because their deadline had passed.
    """

    frames: int
    flows: int


def sweep(now: datetime, *, store: EventStore, reconciler: Reconciler, notifier: Notifier | None = None) -> Swept:
    """Judge the stories whose deadline has passed, and remove the frames that nobody can ask for any more.

    Safe to run twice at once: what one has in hand, the other leaves alone.

    Args:
        now: decides what has passed.
        store: holds both.
        reconciler: knows the flows.
        notifier: told that there are new frames; None: who watches finds them by itself.

    Raises:
        Retryable: the store is away; the next sweep does it.
    """
    flows = expire_flows(now, store=store, reconciler=reconciler, notifier=notifier)
    frames = 0
    while batch := store.remove_frames(before=now - FRAMES_KEPT, at_last=now - FRAMES_KEPT_AT_LAST, limit=BATCH):
        frames += batch
    log.info("swept", extra={"frames": frames, "flows": flows})
    return Swept(frames, flows)


def expire_flows(now: datetime, *, store: EventStore, reconciler: Reconciler, notifier: Notifier | None = None) -> int:
    """Judge the stories whose deadline has passed, and tell who watches; how many there were.

    The words are those of ``sweep``.

    Raises:
        Retryable: the store is away; what was judged before that stays judged.
    """
    count = 0
    while True:
        with store.transaction() as work:
            batch, changes = reconciler.expire(now, work, limit=FLOW_BATCH)
            if batch:
                frame = Frame(counts=[], events=[], flows=changes.flows, flow_statuses=changes.statuses)
                work.stream.publish(frame, [])
        count += batch
        if batch < FLOW_BATCH:
            break
    if count:
        notify_best_effort(notifier)
    return count
