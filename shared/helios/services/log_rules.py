"""Publishes the versions of flows that are in force, so that the job judges by them."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from helios.errors import Retryable
from helios.messages import encode_rules
from helios.ports.flow_versions import RulesReader
from helios.ports.log import DeliveryLog, PublishedRules

log = logging.getLogger("helios.projection")

STEP_SECONDS: Final = 1.0
"""The time between two looks at the generation: so much later the job judges by an approved version at most."""

REPEAT: Final = timedelta(minutes=10)
"""After how long the same rules are published again: a job that starts without its state reads the log from where its
retention begins."""


class RulesPublisher:
    """Appends the versions in force to the deliveries. Those of several processes do no harm."""

    def __init__(self, versions: RulesReader, *, log: DeliveryLog, published: PublishedRules) -> None:
        """Take the ports.

        Args:
            versions: reads the versions in force.
            log: takes them.
            published: notes what is in the log.
        """
        self._versions = versions
        self._log = log
        self._published = published
        self._generation = 0
        self._again = datetime.min.replace(tzinfo=UTC)

    def step(self, clock: Callable[[], datetime]) -> bool:
        """Publish the versions in force if they have changed, or were published long ago; whether it did.

        Raises:
            Retryable: the log or the store can't be reached.
        """
        in_force = self._versions.in_force()
        if in_force.generation == self._generation and (not self._generation or clock() < self._again):
            return False
        self._log.append([encode_rules(in_force)])
        # Afterwards: what was appended earlier may be judged by earlier rules.
        self._published.raise_published(in_force.generation, clock())
        self._generation, self._again = in_force.generation, clock() + REPEAT
        return True

    def follow(self, stopping: threading.Event, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Look again and again until ``stopping`` is set."""
        while not stopping.wait(STEP_SECONDS):
            try:
                self.step(clock)
            except Retryable as error:
                log.warning("the rules are not published", extra={"error": str(error)})
