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

from helios.adapters.aws import ApiGatewayBroadcaster
from helios.adapters.postgres.counts import PostgresCountWriter
from helios.adapters.postgres.dead_letters import PostgresDeadLetterWriter
from helios.adapters.postgres.events import PostgresEventWriter
from helios.adapters.postgres.stream import PostgresConsumerOffset, PostgresStreamWriter
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
    "before-count": Step(PostgresCountWriter, "add", is_after=False, is_committed=False),
    "before-dead-letters": Step(PostgresDeadLetterWriter, "add", is_after=False, is_committed=False),
    "before-publish": Step(PostgresStreamWriter, "publish", is_after=False, is_committed=False),
    "before-commit": Step(PostgresStreamWriter, "publish", is_after=True, is_committed=False),
    "before-cache": Step(RedisDedupeCache, "add", is_after=False, is_committed=True),
    "after-cache": Step(RedisDedupeCache, "add", is_after=True, is_committed=True),
    "before-answer": Step(ingest, "_log", is_after=False, is_committed=True),
}
"""Every point between two steps, in the order in which a batch passes them.

There is none within ``add``: it is one script, which Redis runs completely or not at all.
"""


RELAY_STEPS = {
    "before-broadcast": Step(ApiGatewayBroadcaster, "broadcast", is_after=False, is_committed=True),
    "before-offset-commit": Step(PostgresConsumerOffset, "commit", is_after=False, is_committed=True),
}
"""Every point between two steps of the relay at which the frames have their positions."""


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


def main() -> None:
    """Arm the step, then run the module."""
    _, step, _, module, *arguments = sys.argv
    arm((STEPS | RELAY_STEPS)[step])
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
