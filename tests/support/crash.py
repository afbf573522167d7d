"""``python -m tests.support.crash STEP -m MODULE ARGUMENTS``: run a module that kills itself at one step of ingest.

The step's function is wrapped before the module starts, so production code needs no hook for it. The process sends
itself SIGKILL: no ``finally`` block and no exit handler runs, and the connection to Postgres is not closed.
"""

import os
import runpy
import signal
import sys
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any, NamedTuple

from helios.adapters.archive.objects import Objects
from helios.adapters.archive.parquet import ParquetFormat
from helios.adapters.aws import ApiGatewayBroadcaster
from helios.adapters.guarded_http import Endpoint
from helios.adapters.kafka import KafkaSink
from helios.adapters.kafka_erasure import KafkaLogErasure
from helios.adapters.postgres import archive, comparisons, resolutions, retention
from helios.adapters.postgres.archive import PostgresArchiveTurn
from helios.adapters.postgres.balances import PostgresBalances, PostgresBalanceTurn
from helios.adapters.postgres.dead_letters import PostgresDeadLetterWriter
from helios.adapters.postgres.erasure import PostgresErasure
from helios.adapters.postgres.events import PostgresEventWriter
from helios.adapters.postgres.incidents import PostgresIncidentTurn
from helios.adapters.postgres.notifications import PostgresNotifications, PostgresRoutingTurn
from helios.adapters.postgres.retention import PostgresRetention
from helios.adapters.postgres.stream import PostgresConsumerOffset, PostgresOutbox, PostgresStreamWriter
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.adapters.redis.dedupe import RedisDedupeCache
from helios.services import ingest


class Step(NamedTuple):
    """A point between two steps of ingest.

    Attributes:
        owner: the class or module of the function.
        function: the name of the step next to the point.
        is_after: whether the point is after that step or before it.
        is_committed: whether the batch is durable at that point.
    """

    owner: type | ModuleType
    function: str
    is_after: bool
    is_committed: bool


STEPS = {
    "before-lookup": Step(RedisDedupeCache, "lookup", is_after=False, is_committed=False),
    "after-lookup": Step(RedisDedupeCache, "lookup", is_after=True, is_committed=False),
    "before-insert": Step(PostgresEventWriter, "insert", is_after=False, is_committed=False),
    "before-dead-letters": Step(PostgresDeadLetterWriter, "add", is_after=False, is_committed=False),
    "before-publish": Step(PostgresStreamWriter, "publish", is_after=False, is_committed=False),
    "before-commit": Step(PostgresStreamWriter, "publish", is_after=True, is_committed=False),
    "before-cache": Step(RedisDedupeCache, "add", is_after=False, is_committed=True),
    "after-cache": Step(RedisDedupeCache, "add", is_after=True, is_committed=True),
    "before-answer": Step(ingest, "log_batch", is_after=False, is_committed=True),
}
"""Every point between two steps, in the order in which a batch passes them.

There is none within ``add``: it is one script, which Redis runs completely or not at all.
"""


NEW_STEPS = {
    "before-lookup": STEPS["before-lookup"],
    "before-storing": Step(PostgresStore, "store_new", is_after=False, is_committed=False),
    "after-storing": Step(PostgresStore, "store_new", is_after=True, is_committed=True),
    "before-cache": STEPS["before-cache"],
    "before-answer": STEPS["before-answer"],
}
"""Every point between two steps of a batch of new events, which one statement stores."""

RELAY_STEPS = {
    "before-numbering": Step(PostgresOutbox, "number", is_after=False, is_committed=False),
    "after-numbering": Step(PostgresOutbox, "number", is_after=True, is_committed=True),
    "before-broadcast": Step(ApiGatewayBroadcaster, "broadcast", is_after=False, is_committed=True),
    "before-offset-commit": Step(PostgresConsumerOffset, "commit", is_after=False, is_committed=True),
}
"""Every point between two steps of the relay; ``is_committed`` says whether the frames have their positions."""

ARCHIVE_STEPS = {
    "before-listing": Step(PostgresArchiveTurn, "begin", is_after=False, is_committed=False),
    "after-listing": Step(PostgresArchiveTurn, "begin", is_after=True, is_committed=False),
    "after-writing": Step(Objects, "put", is_after=True, is_committed=False),
    "before-reading-back": Step(Objects, "fetch", is_after=False, is_committed=False),
    "after-reading-back": Step(ParquetFormat, "contents", is_after=True, is_committed=False),
    "before-completing": Step(PostgresArchiveTurn, "complete", is_after=False, is_committed=False),
    "after-completing": Step(PostgresArchiveTurn, "complete", is_after=True, is_committed=True),
    "before-finishing-the-day": Step(PostgresArchiveTurn, "finish_day", is_after=False, is_committed=True),
}
"""Every point between two steps of the archive's job; ``is_committed`` says whether the first file is readable."""

CLEANING_STEPS = {
    "before-removing": Step(Objects, "delete", is_after=False, is_committed=False),
    "after-removing": Step(Objects, "delete", is_after=True, is_committed=False),
    "after-forgetting": Step(PostgresArchiveTurn, "forget", is_after=True, is_committed=False),
}
"""The points at which a job removes what an interrupted one has left."""

RESTORE_STEPS = {
    "before-copying": Step(archive, "lock_partitions", is_after=False, is_committed=False),
    "after-copying": Step(archive, "_contents_of", is_after=False, is_committed=False),
    "before-attaching": Step(archive, "_contents_of", is_after=True, is_committed=False),
    "after-attaching": Step(PostgresArchiveTurn, "restore", is_after=True, is_committed=True),
}
"""The points of a restore; ``is_committed`` says whether the partition is there."""

ERASURE_STEPS = {
    "before-marking": Step(PostgresErasure, "mark", is_after=False, is_committed=False),
    "after-marking": Step(PostgresErasure, "mark", is_after=True, is_committed=False),
    "after-erasing-rows": Step(PostgresErasure, "remove", is_after=True, is_committed=False),
    "after-excluding-writers": Step(PostgresErasure, "exclude_writers", is_after=True, is_committed=False),
    "before-listing-a-file": Step(PostgresArchiveTurn, "begin", is_after=False, is_committed=False),
    "after-writing-a-file": Step(Objects, "put", is_after=True, is_committed=False),
    "before-replacing-a-file": Step(PostgresArchiveTurn, "complete", is_after=False, is_committed=False),
    "after-replacing-a-file": Step(PostgresArchiveTurn, "complete", is_after=True, is_committed=False),
    "before-removing-a-file": Step(Objects, "delete", is_after=False, is_committed=False),
    "after-removing-a-file": Step(Objects, "delete", is_after=True, is_committed=False),
    "before-scanning": Step(PostgresErasure, "scan", is_after=False, is_committed=True),
    "before-recording": Step(PostgresErasure, "record", is_after=False, is_committed=True),
    "after-recording": Step(PostgresErasure, "record", is_after=True, is_committed=True),
}
"""The points of an erasure; ``is_committed`` says whether everything is erased."""

KAFKA_ERASURE_STEPS = {
    "before-erasing-messages": Step(KafkaSink, "erase", is_after=False, is_committed=False),
    "after-erasing-messages": Step(KafkaSink, "erase", is_after=True, is_committed=False),
    "before-erasing-from-the-log": Step(KafkaLogErasure, "erase", is_after=False, is_committed=False),
    "after-erasing-from-the-log": Step(KafkaLogErasure, "erase", is_after=True, is_committed=False),
    "after-erasing-rows": ERASURE_STEPS["after-erasing-rows"],
}
"""The points of an erasure with a sink and a log, until the events are removed from Postgres."""

DROP_STEPS = {
    "after-watching-a-partition": Step(comparisons, "_watch", is_after=True, is_committed=False),
    "before-recording-a-comparison": Step(comparisons, "compare_with_archive", is_after=True, is_committed=False),
    "after-recording-a-comparison": Step(comparisons, "compare", is_after=True, is_committed=False),
    "before-detaching-a-partition": Step(retention, "_detach", is_after=False, is_committed=False),
    "after-detaching-a-partition": Step(retention, "_detach", is_after=True, is_committed=False),
    "before-dropping-a-partition": Step(comparisons, "forget", is_after=True, is_committed=False),
    "after-dropping-a-partition": Step(PostgresRetention, "drop_partition", is_after=True, is_committed=True),
}
"""The points of a drop; ``is_committed`` says whether the table is removed."""

NOTIFICATION_STEPS = {
    "before-announcing": Step(PostgresIncidentTurn, "announce", is_after=False, is_committed=False),
    "after-announcing": Step(PostgresIncidentTurn, "announce", is_after=True, is_committed=False),
    "before-routing": Step(PostgresRoutingTurn, "unrouted", is_after=False, is_committed=False),
    "after-routing": Step(PostgresRoutingTurn, "route", is_after=True, is_committed=False),
    "after-composing": Step(PostgresRoutingTurn, "compose", is_after=True, is_committed=False),
    "before-claiming": Step(PostgresNotifications, "claim", is_after=False, is_committed=False),
    "after-claiming": Step(PostgresNotifications, "claim", is_after=True, is_committed=False),
    "after-posting": Step(Endpoint, "post", is_after=True, is_committed=True),
    "before-recording-sent": Step(PostgresNotifications, "sent", is_after=False, is_committed=True),
    "after-recording-sent": Step(PostgresNotifications, "sent", is_after=True, is_committed=True),
}
"""Every point between two steps from an incident to its receivers; ``is_committed`` says whether the first receiver has
the message."""


BALANCE_STEPS = {
    "before-opening": Step(PostgresBalances, "open", is_after=False, is_committed=False),
    "after-opening": Step(PostgresBalances, "open", is_after=True, is_committed=False),
    "before-counting": Step(PostgresBalanceTurn, "count", is_after=False, is_committed=False),
    "after-counting": Step(PostgresBalanceTurn, "count", is_after=True, is_committed=False),
    "after-balancing": Step(PostgresBalanceTurn, "balance", is_after=True, is_committed=False),
    "after-reporting": Step(PostgresBalanceTurn, "report", is_after=True, is_committed=False),
    "after-taking-counts": Step(PostgresIncidentTurn, "counts", is_after=True, is_committed=True),
}
"""Every point between two steps from a manifest to its incident; ``is_committed`` says whether what is missing is."""


RESOLUTION_STEPS = {
    "before-writing-instances": Step(resolutions, "_write", is_after=False, is_committed=False),
    "after-writing-instances": Step(resolutions, "_write", is_after=True, is_committed=False),
    "after-adding-the-action": Step(resolutions, "_with_id", is_after=True, is_committed=False),
    "before-auditing": Step(resolutions, "audit_entry", is_after=False, is_committed=False),
}
"""Every point between two steps of a person's action on flow instances."""

UNDO_STEPS = {
    **RESOLUTION_STEPS,
    "before-restoring": Step(resolutions, "_restored", is_after=False, is_committed=False),
    "after-restoring": Step(resolutions, "_restored", is_after=True, is_committed=False),
}
"""Every point between two steps of an undo."""


def die() -> None:
    """End this process like ``kill -9``."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(step: Step) -> None:
    """Wrap the step's function, so that the process kills itself at that point."""
    original: Callable[..., Any] = getattr(step.owner, step.function)

    @wraps(original)
    def deadly(*args: Any, **kwargs: Any) -> None:
        if step.is_after:
            original(*args, **kwargs)
        die()

    setattr(step.owner, step.function, deadly)


ALL_STEPS = (
    STEPS,
    NEW_STEPS,
    RELAY_STEPS,
    ARCHIVE_STEPS,
    CLEANING_STEPS,
    RESTORE_STEPS,
    ERASURE_STEPS,
    KAFKA_ERASURE_STEPS,
    DROP_STEPS,
    NOTIFICATION_STEPS,
    BALANCE_STEPS,
    UNDO_STEPS,
)


def main() -> None:
    """Arm the step, then run the module."""
    _, step, _, module, *arguments = sys.argv
    (armed,) = {steps[step] for steps in ALL_STEPS if step in steps}  # one name never means two steps
    arm(armed)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
