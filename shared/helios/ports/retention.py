"""Making the store smaller."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

from helios.model.retention import Topic


class RetentionStore(Protocol):
    """Removes what is older than its limit. Every method raises Retryable when the store can't be reached."""

    def remove(self, topic: Topic, *, before: datetime, limit: int) -> int:
        """Remove at most ``limit`` rows of each table of a topic, and return how many were removed."""

    def condense(self, unit: Literal["hour", "day"], *, before: datetime, limit: int) -> int:
        """Add at most ``limit`` sums of each table to the sum of their hour or day, and return how many were added."""

    def expired_partitions(self, before: datetime) -> Sequence[str]:
        """The names of the partitions whose events were all received before a time, the oldest first."""

    def compare_partition(self, name: str) -> None:
        """Read all events of a partition, and record that the archive has them.

        The record holds until the partition or its files in the archive change. Until then, this returns at once.

        Args:
            name: one of ``expired_partitions``.

        Raises:
            Rejected: the archive lacks events of the partition.
        """

    def drop_partition(self, name: str, *, archived: bool) -> None:
        """Drop a partition, while events are stored in the others.

        Args:
            name: one of ``expired_partitions``.
            archived: drop it only if a record of ``compare_partition`` holds.

        Raises:
            Rejected: no record holds, or another process changes the archive. The partition is as before.
        """
