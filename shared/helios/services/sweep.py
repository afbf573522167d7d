"""Periodic work: evaluates the flow instances whose deadline has passed, and removes old frames."""

import logging
from datetime import datetime, timedelta
from typing import NamedTuple

from helios.model.stream import Frame
from helios.notify import notify_best_effort
from helios.ports.stream import Notifier
from helios.ports.unit_of_work import EventStore
from helios.services.reconciler import Reconciler

log = logging.getLogger("helios.sweep")

FRAME_RETENTION = timedelta(hours=1)
"""How long frames are stored for clients that reconnect."""

MAX_FRAME_RETENTION = timedelta(days=7)
"""How long frames are stored for a consumer that has not read them: Kafka may be unavailable for a week."""

BATCH = 10_000
"""Rows removed by one statement, so that no statement holds its locks for long."""

FLOW_BATCH = 500
"""Instances evaluated in one transaction, for the same reason."""


class SweepResult(NamedTuple):
    """What a sweep did.

    Attributes:
        frames: the number of frames that were removed.
        flows: the number of flow instances that were evaluated because their deadline had passed.
    """

    frames: int
    flows: int


def sweep(now: datetime, *, store: EventStore, reconciler: Reconciler, notifier: Notifier | None = None) -> SweepResult:
    """Evaluate the flow instances whose deadline has passed, and remove the frames that have expired.

    Two sweeps can run at once: each skips the rows that the other has locked.

    Args:
        now: decides which deadlines and retention periods have passed.
        store: holds the instances and the frames.
        reconciler: evaluates the instances.
        notifier: notified of new frames; None: the relay finds the frames at its next turn.

    Raises:
        Retryable: the store can't be reached. The next sweep does the rest.
    """
    flows = expire_flows(now, store=store, reconciler=reconciler, notifier=notifier)
    frames = 0
    while batch := store.remove_frames(before=now - FRAME_RETENTION, at_last=now - MAX_FRAME_RETENTION, limit=BATCH):
        frames += batch
    log.info("swept", extra={"frames": frames, "flows": flows})
    return SweepResult(frames, flows)


def expire_flows(now: datetime, *, store: EventStore, reconciler: Reconciler, notifier: Notifier | None = None) -> int:
    """Evaluate the flow instances whose deadline has passed, publish the changes, and return the number of instances.

    The arguments are those of ``sweep``.

    Raises:
        Retryable: the store can't be reached. What was evaluated before stays stored.
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
