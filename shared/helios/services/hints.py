"""What is known of a batch before Postgres is asked: from this process, and from the cache that all processes share.

A process that stores all legs of an order itself knows as much as the cache. It then does not wait for the cache, which
takes a batch of one event a tenth of its time.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from helios.ports.events import DedupeCache
from helios.reconciliation.record import FlowKey, FlowRecord

RECENT_KEYS = 50_000
"""How many keys a process remembers at least, and half of how many at most: 7 MB."""

RECENT_RECORDS = 2_500
"""How many flow instances a process remembers at least, and half of how many at most: about 12 MB."""

RECORD_SECONDS: Final = 60.0
"""For how long it remembers one at least, and half of how long at most: what was erased is soon forgotten, too."""

MIN_RIGHT = 8
"""How many batches in a row of a new process must learn nothing from the cache, before it does without."""

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
    """The keys of small batches that this process has stored last, as hashes: two of the same one are a wrong hint."""

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


class RecentRecords:
    """The flow instances that this process has written last, each alone, and that wait for further events.

    In larger batches a read costs little, and to keep their instances would cost more.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._newer: dict[FlowKey, FlowRecord] = {}
        self._older: dict[FlowKey, FlowRecord] = {}
        self._turned_at = time.monotonic()

    def add(self, records: Sequence[FlowRecord]) -> None:
        """Remember an instance as it was written. Of several, and of one that waits no longer, remember nothing."""
        self._turn()
        for record in records:
            self._newer.pop(record.identity, None)
            self._older.pop(record.identity, None)
        if len(records) == 1 and records[0].waiting:
            self._newer[records[0].identity] = records[0]

    def get(self, key: FlowKey) -> FlowRecord | None:
        """The instance as this process has written it; another may have changed it since."""
        self._turn()
        return self._newer.get(key) or self._older.get(key)

    def _turn(self) -> None:
        """Forget the older half if the newer one is full, or as old as it may become."""
        age = time.monotonic() - self._turned_at
        if age < RECORD_SECONDS and len(self._newer) < RECENT_RECORDS:
            return
        self._older = self._newer if age < 2 * RECORD_SECONDS else {}
        self._newer = {}
        self._turned_at = time.monotonic()


class Assumptions:
    """What a process remembers, and assumes about its batches.

    Attributes:
        recent: what it has stored last.
        cache: the cache holds nothing of the batch that ``recent`` does not. Not before a few batches have confirmed
            it: a function often stores the second leg of an order whose first leg another cloud has stored.
        events: events that the cache does not hold are new.
        instances: instances that the cache does not hold are new.
        records: no other process has changed an instance since this one wrote it.
        recent_records: the instances that it has written last.
    """

    def __init__(self) -> None:
        """Begin with confidence in the cache, and in its own records."""
        self.recent = RecentKeys()
        self.cache = Assumption(pause=MIN_RIGHT)
        self.events = Assumption()
        self.instances = Assumption()
        self.records = Assumption()
        self.recent_records = RecentRecords()


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
        dedupe: the cache; asked alone for every large batch, for which its answer costs little.
        assumptions: what this process assumes; learns from the cache.
        is_small: whether the batch is small enough to be tried as one of new events.
    """
    if not is_small:
        return Hints(dedupe.lookup(keys) if keys else set(), are_own=False)
    recent = assumptions.recent.among(keys)
    if assumptions.cache.is_worth_it():
        return Hints(recent, are_own=True)
    cached = dedupe.lookup(keys)
    if not cached <= recent:
        assumptions.cache.learn(was_right=False)
    return Hints(recent | cached, are_own=False)
