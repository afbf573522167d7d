"""The versions in force reach the log: once for each generation, and again after a while."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from helios.errors import Retryable
from helios.messages import RulesMessage, decode_delivery
from helios.model.flow_versions import InForce
from helios.services.log_rules import REPEAT, RulesPublisher
from tests.support.deliveries import NOON


class World:
    """The versions that a test puts in force, and what is published of them."""

    def __init__(self) -> None:
        self.now = NOON
        self.rules = InForce(generation=0, texts={})
        self.messages: list[tuple[str, bytes]] = []
        self.published: list[tuple[int, datetime]] = []
        self.is_down = False
        self.publisher = RulesPublisher(self, log=self, published=self)

    def in_force(self) -> InForce:
        return self.rules

    def append(self, messages: Sequence[tuple[str, bytes]]) -> None:
        if self.is_down:
            raise Retryable("the log is down")
        self.messages += messages

    def probe(self) -> None: ...

    def close(self) -> None: ...

    def raise_published(self, generation: int, at: datetime) -> None:
        self.published.append((generation, at))

    def are_taken(self) -> bool:
        return True

    def step(self, after: timedelta = timedelta(0)) -> bool:
        self.now += after
        return self.publisher.step(lambda: self.now)


def test_without_an_approval_nothing_is_published():
    world = World()
    assert not world.step()
    assert not world.step(2 * REPEAT)
    assert not world.messages
    assert not world.published


def test_an_approval_is_published_once_and_noted_afterwards():
    world = World()
    world.rules = InForce(generation=1, texts={"order": "text"})
    assert [world.step(), world.step()] == [True, False]
    ((_, value),) = world.messages
    assert decode_delivery(value) == RulesMessage(generation=1, texts={"order": "text"})
    assert world.published == [(1, NOON)]


def test_rules_are_published_again_before_the_log_has_removed_them():
    world = World()
    world.rules = InForce(generation=1, texts={})
    assert [world.step(), world.step(REPEAT), world.step()] == [True, True, False]
    assert len(world.messages) == 2


def test_what_the_log_has_not_taken_is_not_noted_and_is_published_later():
    world = World()
    world.rules, world.is_down = InForce(generation=1, texts={}), True
    with pytest.raises(Retryable):
        world.step()
    assert world.published == []
    world.is_down = False
    assert world.step()
