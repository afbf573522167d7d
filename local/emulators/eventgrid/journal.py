"""The pending events of one subscription, stored on disk: see ``local.emulators.journal``."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from local.emulators.journal import Journal


class PendingEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event that was accepted, and is neither delivered nor given up.

    Attributes:
        number: its position among the subscription's events, ascending.
        published: the time when it was accepted, in seconds since the epoch.
        event: its JSON, in the topic's schema.
    """

    number: int
    published: float
    event: msgspec.Raw


class _Added(msgspec.Struct, tag=True, array_like=True):
    events: list[PendingEvent]


class _Settled(msgspec.Struct, tag=True, array_like=True):
    numbers: list[int]


_decoder = msgspec.json.Decoder(_Added | _Settled)


class PendingEvents:
    """The pending events of one subscription, in memory and in its journal.

    Attributes:
        events: the pending events by number, oldest first.
    """

    def __init__(self, path: Path) -> None:
        """Open the journal, and recover the events that an earlier process left in it."""
        self._journal = Journal(path, _decoder)
        self.events: dict[int, PendingEvent] = {}
        self._next = 0
        for record in self._journal.replay():
            if isinstance(record, _Added):
                self._add(record.events)
            else:
                self._remove(record.numbers)
        self._rewrite()

    def add(self, events: Iterable[bytes], published: float) -> list[PendingEvent]:
        """Add accepted events, and return them; once this returns, they survive the process."""
        added = [PendingEvent(number, published, msgspec.Raw(event)) for number, event in enumerate(events, self._next)]
        self._journal.write(_Added(added))
        self._add(added)
        return added

    def settle(self, numbers: Sequence[int]) -> None:
        """Remove events that are delivered or given up."""
        self._journal.write(_Settled(list(numbers)))
        self._remove(numbers)
        if self._journal.outgrown:
            self._rewrite()

    def close(self) -> None:
        """Close the journal; the pending events stay in it."""
        self._journal.close()

    def _rewrite(self) -> None:
        self._journal.rewrite([_Added(list(self.events.values()))])

    def _add(self, added: Sequence[PendingEvent]) -> None:
        self.events |= {event.number: event for event in added}
        self._next = max(self._next, *(event.number + 1 for event in added)) if added else self._next

    def _remove(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.events.pop(number, None)
