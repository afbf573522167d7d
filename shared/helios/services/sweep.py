"""Periodic work: evaluates overdue flow instances, updates the incidents, and removes what has expired."""

import logging
from datetime import datetime, timedelta
from typing import NamedTuple

from helios.model.stream import Frame
from helios.notify import notify_best_effort
from helios.ports.stream import Notifier, Outbox
from helios.ports.unit_of_work import EventStore
from helios.services.balances import BalanceJob
from helios.services.incidents import IncidentJob
from helios.services.notifications import NotificationJob
from helios.services.recompute import RecomputeJob
from helios.services.reconciler import Reconciler
from helios.services.recoveries import RecoveryJob
from helios.services.retention import RetentionJob

log = logging.getLogger("helios.sweep")

FRAME_RETENTION = timedelta(hours=1)
"""How long frames are stored for clients that reconnect."""

MAX_FRAME_RETENTION = timedelta(days=7)
"""How long frames are stored for a consumer that has not read them: Kafka may be unavailable for a week."""

BATCH = 10_000
"""Rows removed by one statement, so that no statement holds its locks for long."""

FLOW_BATCH = 500
"""Instances evaluated in one transaction, for the same reason."""


RETENTION_SECONDS = 5.0
"""The time in which a sweep begins to remove batches of expired rows. The next sweep continues."""


NOTIFY_SECONDS = 5.0
"""The time in which a sweep begins to send notifications. The next sweep sends the others."""


RECOMPUTE_SECONDS = 15.0
"""The same for a recompute: a sweep runs once a minute, and a platform ends a call of half a minute."""
RECOVERY_SECONDS = 5.0
"""The time in which a sweep begins to work on recoveries. The next sweep continues."""


class SweepResult(NamedTuple):
    """What a sweep did.

    Attributes:
        frames: the number of frames that were removed.
        flows: the number of flow instances that were evaluated because their deadline had passed.
    """

    frames: int
    flows: int


def sweep(
    now: datetime,
    *,
    store: EventStore,
    reconciler: Reconciler | None,
    notifier: Notifier | None = None,
    outbox: Outbox | None = None,
    balances: BalanceJob | None = None,
    incidents: IncidentJob | None = None,
    retention: RetentionJob | None = None,
    notifications: NotificationJob | None = None,
    recompute: RecomputeJob | None = None,
    recoveries: RecoveryJob | None = None,
) -> SweepResult:
    """Make room for new events, evaluate overdue flow instances, update balances and incidents, and remove old rows.

    Two sweeps can run at once: each skips the rows that the other has locked.

    Args:
        now: decides which deadlines and retention periods have passed.
        store: holds the instances and the frames.
        reconciler: evaluates the instances; None: another engine does.
        notifier: notified of new frames and of incidents; None: the relay finds the frames at its next turn.
        outbox: gives the frames their positions, without which they are not removed; None: another process does.
        balances: counts what arrived of what manifests declare; None: another process does.
        incidents: opens and resolves incidents; None: another process does.
        retention: removes what is older than its limit; None: only frames are removed.
        notifications: notifies the receivers of incidents; None: another process does.
        recompute: evaluates the stored instances by versions that were approved; None: another process does.
        recoveries: brings back missing legs; None: another process does.

    Raises:
        Retryable: the store can't be reached. The next sweep does the rest.
    """
    store.extend_partitions(now)
    flows = expire_flows(now, store=store, reconciler=reconciler, notifier=notifier) if reconciler else 0
    if outbox:
        outbox.number()
    if balances:
        balances.run(now)
    if incidents and incidents.run(now):
        notify_best_effort(notifier)  # the relay notifies the receivers, which this process may not know
    frames = 0
    while batch := store.remove_frames(before=now - FRAME_RETENTION, at_last=now - MAX_FRAME_RETENTION, limit=BATCH):
        frames += batch
    if retention:
        retention.remove_expired(now, seconds=RETENTION_SECONDS)
    if notifications:
        notifications.run(now, seconds=NOTIFY_SECONDS)
    if recompute:
        recompute.run(now, seconds=RECOMPUTE_SECONDS)
    if recoveries:
        recoveries.run(now, seconds=RECOVERY_SECONDS)
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
                work.stream.publish(frame, [], changes.counts, generation=reconciler.generation)
        count += batch
        if batch < FLOW_BATCH:
            break
    if count:
        notify_best_effort(notifier)
    return count
