"""What was sent and what was answered: the side of the story that Helios can't write."""

from collections import Counter
from collections.abc import Sequence
from threading import Lock

from helios.model.events import Source

Key = tuple[Source, str]


class Book:
    """The answers of one phase; several threads write.

    Attributes:
        acknowledged: events that Helios, or a cloud, has promised to keep.
        told: deliveries at the webhooks by what Helios said became of them.
        taken: deliveries that the clouds took.
        doubled: how often a cloud may have taken an event twice, because its answer was lost.
        unanswered: deliveries in requests that were refused or broke off: they may have been stored all the same.
        wrong: answers that must not be, in words.
    """

    def __init__(self) -> None:
        self.acknowledged: set[Key] = set()
        self.told: Counter[str] = Counter()
        self.taken = 0
        self.doubled = 0
        self.unanswered = 0
        self.wrong: list[str] = []
        self._lock = Lock()

    def answer(self, keys: Sequence[Key | None], statuses: Sequence[str]) -> None:
        """Enter what became of each element of a request; None: poison."""
        with self._lock:
            for key, status in zip(keys, statuses, strict=True):
                self.told[status] += 1
                if (status == "rejected") != (key is None) or status == "contradictory":
                    self.wrong.append(f"{key or 'poison'} was called {status}")
                elif key:
                    self.acknowledged.add(key)

    def take(self, key: Key) -> None:
        """Enter that a cloud has taken an event."""
        with self._lock:
            self.taken += 1
            self.acknowledged.add(key)

    def double(self) -> None:
        """Enter that a cloud will be given an event again which it may have taken."""
        with self._lock:
            self.doubled += 1

    def miss(self, deliveries: int) -> None:
        """Enter a request without a good answer."""
        with self._lock:
            self.unanswered += deliveries

    def complain(self, what: str) -> None:
        """Enter an answer that must not be."""
        with self._lock:
            self.wrong.append(what)
