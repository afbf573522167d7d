"""Up to when the log is projected: what counts what has arrived must not count what is still on its way.

No message says so. The answer follows from offsets::

    at T, the deliveries end at D        what is appended before T is before D
    the job has committed D              its events are written, before the ends E of its topics
    the store has E                      so every delivery that was appended before T is projected
"""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from helios.errors import Retryable
from helios.messages import Topics
from helios.ports.log import LogEnds, LogOffsets, Partition, ProjectionProgress

log = logging.getLogger("helios.projection")

STEP_SECONDS: Final = 2.0
"""The time between two looks at the offsets: so much later the progress is known at most, at each of two stages."""


class _Stage(NamedTuple):
    """What is waited for: the job until ``ends`` are those of the results, then the store."""

    at: datetime
    ends: Mapping[Partition, int]
    is_judged: bool


class ProgressTracker:
    """Finds out up to when the log is projected. Several processes may do so: the latest time counts."""

    def __init__(self, topics: Topics, *, log: LogEnds, offsets: LogOffsets, progress: ProjectionProgress) -> None:
        """Take the ports.

        Args:
            topics: the names of the topics.
            log: says where the topics end, and what the job has read.
            offsets: what the store has of them.
            progress: takes the result.
        """
        self._topics = topics
        self._log = log
        self._offsets = offsets
        self._progress = progress
        self._stage: _Stage | None = None

    def step(self, now: datetime) -> bool:
        """Look at the offsets once; whether a time was reached.

        Raises:
            Retryable: the log or the store can't be reached.
        """
        stage = self._stage or _Stage(now, self._log.ends([self._topics.deliveries]), is_judged=False)
        self._stage = stage
        if not stage.is_judged:
            if not _covers(self._log.judged(self._topics.deliveries), stage.ends):
                self._drop_if_shorter(self._log.ends([self._topics.deliveries]))
                return False
            # The ends of open transactions: the one that the checkpoint has ended may not be committed yet.
            self._stage = stage = _Stage(stage.at, self._log.ends(self._topics[1:]), is_judged=True)
        stored = self._offsets.next_offsets(list(stage.ends))
        ends = self._log.ends(self._topics[1:])
        self._drop_if_shorter(ends)
        # An offset beyond the end is one of another log, which was there before this one.
        if self._stage is None or not _covers(stored, stage.ends) or not _covers(ends, stored):
            return False
        self._progress.raise_projected_until(stage.at)
        self._stage = None
        return True

    def _drop_if_shorter(self, ends: Mapping[Partition, int]) -> None:
        """Begin again if the log ends before what is waited for: it is another one, and may never get there."""
        if self._stage and not _covers(ends, self._stage.ends):
            self._stage = None

    def follow(self, stopping: threading.Event, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Look again and again until ``stopping`` is set."""
        while not stopping.wait(STEP_SECONDS):
            try:
                self.step(clock())
            except Retryable as error:
                log.warning("the progress is not known", extra={"error": str(error)})


def _covers(offsets: Mapping[Partition, int], ends: Mapping[Partition, int]) -> bool:
    return all(offsets.get(partition, 0) >= end for partition, end in ends.items())
