"""The sender's record of a phase: what it sent and what it was answered, independent of what Helios stores."""

from collections import Counter
from collections.abc import Sequence
from threading import Lock

from helios.model.events import Key
from helios.model.sources import Source

SourceAndId = tuple[Source, str]
"""Identifies a sent event: its id is random. A cloud's answer does not name the producer."""


class ResponseLog:
    """The responses of one phase. Several threads may write at once.

    Attributes:
        acknowledged: events that Helios or a cloud acknowledged and so must not lose.
        statuses: deliveries at the webhooks by the status that Helios returned.
        accepted: deliveries that the clouds accepted.
        possible_duplicates: how often a cloud may have accepted an event twice, because the first response was lost.
        unanswered: deliveries in requests that failed or were refused. Helios may have stored them all the same.
        violations: responses that must not occur, in words.
    """

    def __init__(self) -> None:
        self.acknowledged: set[SourceAndId] = set()
        self.statuses: Counter[str] = Counter()
        self.accepted = 0
        self.possible_duplicates = 0
        self.unanswered = 0
        self.violations: list[str] = []
        self._lock = Lock()

    def record_statuses(self, keys: Sequence[Key | None], statuses: Sequence[str]) -> None:
        """Record the status of each element of a request. A key of None is a poison message."""
        with self._lock:
            for key, status in zip(keys, statuses, strict=True):
                self.statuses[status] += 1
                if (status == "rejected") != (key is None) or status == "contradictory":
                    self.violations.append(f"{key or 'poison'} was reported as {status}")
                elif key:
                    source, _, id_ = key
                    self.acknowledged.add((source, id_))

    def record_accepted(self, event: SourceAndId) -> None:
        """Record that a cloud accepted an event."""
        with self._lock:
            self.accepted += 1
            self.acknowledged.add(event)

    def record_possible_duplicate(self) -> None:
        """Record that a cloud is sent an event again that it may have accepted before."""
        with self._lock:
            self.possible_duplicates += 1

    def record_unanswered(self, deliveries: int) -> None:
        """Record a request that failed or was refused."""
        with self._lock:
            self.unanswered += deliveries

    def record_violation(self, description: str) -> None:
        """Record a response that must not occur."""
        with self._lock:
            self.violations.append(description)
