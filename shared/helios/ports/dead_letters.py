"""Dead letters: storing them, and reading them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from helios.model.dead_letters import DeadLetter, DeadLetterFilter, DeadLetterGroup, ReplayedAs, StoredDeadLetter
from helios.model.events import Key
from helios.model.paging import Page


class DeadLetterWriter(Protocol):
    """The dead letters, within a unit of work."""

    def add(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Store dead letters. One whose fingerprint is known adds to the attempts of the stored one."""

    def replayed(self, number: int) -> list[Key] | None:
        """Lock a dead letter, and return the events that its replay became; None if no replay has succeeded."""

    def mark_replayed(self, number: int, replayed_as: ReplayedAs, keys: Sequence[Key], at: datetime) -> None:
        """Record what the replay of a dead letter became. What an earlier replay became is never overwritten."""


class DeadLetterReader(Protocol):
    """Reads dead letters. Every method raises Retryable when the store can't be reached."""

    def dead_letters(self, where: DeadLetterFilter, *, after: str | None, limit: int) -> Page[StoredDeadLetter]:
        """A page of dead letters, the newest first.

        Raises:
            Rejected: ``after`` is not a cursor of an earlier page.
        """

    def dead_letter(self, number: int) -> StoredDeadLetter | None:
        """The dead letter with this id, or None."""

    def dead_letter_groups(
        self, where: DeadLetterFilter, *, limit: int, by_reason: bool = True
    ) -> list[DeadLetterGroup]:
        """Dead letters grouped by source, status, field and reason, the largest group first.

        Without ``by_reason``, dead letters with different reasons are one group, whose reason is empty.
        """
