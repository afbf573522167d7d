"""What is known of a batch before Postgres is asked: from this process, and from the cache that all processes share.

A process that stores all legs of an order itself knows as much as the cache. It then does not wait for the cache, which
takes a batch of one event a tenth of its time.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from helios.ports.events import DedupeCache

RECENT_KEYS = 50_000
"""How many keys a process remembers at least, and half of how many at most: 7 MB."""

MIN_RIGHT = 8
"""How many batches in a row of a new process ask the cache in vain, before it does without."""

MAX_PAUSE = 64
"""After how many batches at most an assumption that was wrong is tried again."""


class Assumption:
    """Whether it pays to assume something about the next batch, from how often that was right.

    A cache of another cloud knows nothing of this cloud's orders, and without a cache nothing is known: there, an
    assumption may be wrong for most batches. After each failure twice as many batches do without it, after each success
    half as many.
    """

    def __init__(self, *, pause: int = 0) -> None:
        """Begin with confidence, or after this many batches without it."""
        self._pause = self._left = pause

    def is_worth_it(self) -> bool:
        """Whether the next batch should rely on it."""
        self._left -= 1
        return self._left < 0

    def learn(self, *, was_right: bool) -> None:
        """Take the experience of a batch that relied on it."""
        self._pause = self._pause // 2 if was_right else min(MAX_PAUSE, 2 * self._pause or 1)
        self._left = 0 if was_right else self._pause


class RecentKeys:
    """The keys that this process has stored last, as hashes: two keys that share one are a wrong hint."""

    def __init__(self) -> None:
        """Begin empty."""
        self._newer: set[int] = set()
        self._older: set[int] = set()

    def add(self, keys: Iterable[tuple[str, ...]]) -> None:
        """Remember keys, and forget the oldest if they are too many."""
        if len(self._newer) >= RECENT_KEYS:
            self._newer, self._older = set(), self._newer
        self._newer.update(map(hash, keys))

    def among(self, keys: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
        """Those of the keys that it remembers."""
        return {key for key in keys if hash(key) in self._newer or hash(key) in self._older}


class Assumptions:
    """What a process remembers, and assumes about its batches.

    Attributes:
        recent: what it has stored last.
        cache: the cache holds nothing of the batch that ``recent`` does not. Not before a few batches have confirmed
            it: a function often stores the second leg of an order whose first leg another cloud has stored.
        events: events that the cache does not hold are new.
        instances: instances that the cache does not hold are new.
    """

    def __init__(self) -> None:
        """Begin with confidence in the cache."""
        self.recent = RecentKeys()
        self.cache = Assumption(pause=MIN_RIGHT)
        self.events = Assumption()
        self.instances = Assumption()


class Hints(NamedTuple):
    """What is probably stored already.

    Attributes:
        known: identities of events and of instances.
        are_own: whether only this process was asked.
    """

    known: set[tuple[str, ...]]
    are_own: bool


def hints(keys: Collection[tuple[str, ...]], dedupe: DedupeCache, assumptions: Assumptions, *, is_small: bool) -> Hints:
    """What is probably stored of a batch with these keys.

    Args:
        keys: identities of events and of instances.
        dedupe: the cache; asked for every large batch, for which its answer costs little.
        assumptions: what this process assumes; learns from the cache.
        is_small: whether the batch is small enough to be tried as one of new events.
    """
    recent = assumptions.recent.among(keys)
    if is_small and assumptions.cache.is_worth_it():
        return Hints(recent, are_own=True)
    cached: set[tuple[str, ...]] = dedupe.lookup(keys) if keys else set()
    if not cached <= recent:
        assumptions.cache.learn(was_right=False)
    return Hints(recent | cached, are_own=False)
