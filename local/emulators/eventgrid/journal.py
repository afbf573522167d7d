"""What one subscription still owes its endpoint, kept on disk: see ``local.emulators.journal``."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from local.emulators.journal import Journal


class Owed(msgspec.Struct, frozen=True, array_like=True):
    """One accepted event.

    Attributes:
        number: its place among the subscription's; grows.
        published: when it was accepted, in seconds since the epoch.
        event: its JSON, in the topic's schema.
    """

    number: int
    published: float
    event: msgspec.Raw


class _Added(msgspec.Struct, tag=True, array_like=True):
    owed: list[Owed]


class _Settled(msgspec.Struct, tag=True, array_like=True):
    numbers: list[int]


_decoder = msgspec.json.Decoder(_Added | _Settled)


class Debts:
    """All that one subscription owes.

    Attributes:
        owed: by number, what is accepted and not settled, oldest first.
    """

    def __init__(self, path: Path) -> None:
        """Open a journal, and recover what an earlier process left in it."""
        self._journal = Journal(path, _decoder)
        self.owed: dict[int, Owed] = {}
        self._next = 0
        for record in self._journal.replay():
            if isinstance(record, _Added):
                self._note(record.owed)
            else:
                self._forget(record.numbers)
        self._rewrite()

    def add(self, events: Iterable[bytes], published: float) -> list[Owed]:
        """Write down accepted events; once this returns, they survive the process."""
        added = [Owed(number, published, msgspec.Raw(event)) for number, event in enumerate(events, self._next)]
        self._journal.write(_Added(added))
        self._note(added)
        return added

    def settle(self, numbers: Sequence[int]) -> None:
        """Write down that these are delivered or given up."""
        self._journal.write(_Settled(list(numbers)))
        self._forget(numbers)
        if self._journal.outgrown:
            self._rewrite()

    def close(self) -> None:
        """Let go of the file; what is owed stays in it."""
        self._journal.close()

    def _rewrite(self) -> None:
        self._journal.rewrite([_Added(list(self.owed.values()))])

    def _note(self, added: Sequence[Owed]) -> None:
        self.owed |= {one.number: one for one in added}
        self._next = max(self._next, *(one.number + 1 for one in added)) if added else self._next

    def _forget(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.owed.pop(number, None)
