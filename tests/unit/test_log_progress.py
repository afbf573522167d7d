"""Up to when the log is projected, from offsets alone."""

from collections.abc import Collection
from datetime import datetime, timedelta

import pytest

from helios.messages import topics
from helios.ports.log import Partition
from helios.services.log_progress import ProgressTracker
from tests.support.deliveries import NOON

TOPICS = topics("helios")
DELIVERIES: Partition = (TOPICS.deliveries, 0)
EVENTS: Partition = (TOPICS.events, 0)
SECOND = timedelta(seconds=1)


class World:
    """Offsets that a test sets, as the log, the job and the store have them."""

    def __init__(self) -> None:
        self.log: dict[Partition, int] = {DELIVERIES: 0, EVENTS: 0}
        self.committed: dict[Partition, int] = {}
        self.stored: dict[Partition, int] = {}
        self.until: datetime | None = None
        self.tracker = ProgressTracker(TOPICS, log=self, offsets=self, progress=self)

    def ends(self, names: Collection[str]) -> dict[Partition, int]:
        return {partition: end for partition, end in self.log.items() if partition[0] in names}

    def judged(self, topic: str) -> dict[Partition, int]:
        return {partition: offset for partition, offset in self.committed.items() if partition[0] == topic}

    def next_offsets(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        return {partition: offset for partition, offset in self.stored.items() if partition in partitions}

    def projected_until(self) -> datetime | None:
        return self.until

    def raise_projected_until(self, at: datetime) -> None:
        self.until = max(at, self.until or at)

    def close(self) -> None:
        """Does nothing."""


@pytest.fixture
def world() -> World:
    return World()


def test_an_empty_log_is_projected(world):
    assert world.tracker.step(NOON)
    assert world.until == NOON


def test_the_time_is_that_before_the_job_and_the_store_were_waited_for(world):
    world.log[DELIVERIES] = 5
    assert not world.tracker.step(NOON)  # the job is behind
    world.log |= {DELIVERIES: 9, EVENTS: 4}
    world.committed[DELIVERIES] = 5
    assert not world.tracker.step(NOON + SECOND)  # the store is behind
    world.log[EVENTS] = 8
    world.stored[EVENTS] = 4
    assert world.tracker.step(NOON + 2 * SECOND)

    assert world.until == NOON


def test_a_partition_that_is_behind_holds_up_all(world):
    world.log |= {DELIVERIES: 1, (TOPICS.deliveries, 1): 1}
    world.committed[DELIVERIES] = 1
    assert not world.tracker.step(NOON)
    world.committed[TOPICS.deliveries, 1] = 1
    world.log[TOPICS.dead_letters, 3] = 2
    assert not world.tracker.step(NOON)
    assert world.until is None


def test_an_offset_beyond_the_end_is_one_of_another_log(world):
    """The topics were created again. The projector takes the offset back with what it reads first."""
    world.log[EVENTS] = 3
    world.stored[EVENTS] = 5000
    assert not world.tracker.step(NOON)
    world.stored[EVENTS] = 3
    assert world.tracker.step(NOON + SECOND)


def test_the_end_of_a_log_that_is_gone_is_not_waited_for(world):
    world.log |= {DELIVERIES: 50, EVENTS: 30}
    assert not world.tracker.step(NOON)  # the job is behind
    world.log |= {DELIVERIES: 1, EVENTS: 30}
    world.committed[DELIVERIES] = 1
    assert not world.tracker.step(NOON + SECOND)
    assert not world.tracker.step(NOON + 2 * SECOND)  # the store is behind
    world.log[EVENTS] = 2
    world.stored[EVENTS] = 2
    assert not world.tracker.step(NOON + 3 * SECOND)
    assert world.tracker.step(NOON + 4 * SECOND)

    assert world.until == NOON + 4 * SECOND
