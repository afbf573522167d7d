"""What the core requires of the log: to append deliveries, and to read what the job has made of them, each once."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from helios.model.counts import Count
from helios.ports.pending import Pending

Partition = tuple[str, int]
"""The name of a topic, and the number of a partition of it."""


class Progress(NamedTuple):
    """How far a partition is read.

    Attributes:
        since: the first offset that was not read before.
        until: the first offset that is not read now.
    """

    since: int
    until: int


class LogMessage(NamedTuple):
    """A message of the log; ``value`` is None for a tombstone."""

    topic: str
    partition: int
    offset: int
    value: bytes | None


class DeliveryLog(Protocol):
    """Appends messages to the deliveries of the log."""

    def append(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Append messages, each a key and a value, and return once every one is on all replicas that are in sync.

        Raises:
            Retryable: some of them may not be in the log. To append them again is safe.
        """

    def probe(self) -> None:
        """Return if the log answers now; raise Retryable if it does not."""

    def close(self) -> None:
        """Close the connections."""


class Heartbeats(Protocol):
    """Says in every partition of the deliveries that time has passed."""

    def send(self, at: datetime) -> None:
        """Append a heartbeat to each partition.

        Raises:
            Retryable: some partitions may have none.
        """

    def close(self) -> None:
        """Close the connections."""


class LogEnds(Protocol):
    """Where the partitions of the log end, and how far the job has read them. Every method raises Retryable."""

    def ends(self, topics: Collection[str]) -> dict[Partition, int]:
        """The offset after the last message of each partition, of open transactions too."""

    def judged(self, topic: str) -> dict[Partition, int]:
        """The first delivery of each partition that is in no checkpoint of the job; 0 if none is."""

    def close(self) -> None:
        """Close the connections."""


class LogReader(Protocol):
    """Reads what the job has committed, in the order of each partition. Several readers divide the partitions."""

    def read(self, *, limit: int, seconds: float) -> list[LogMessage]:
        """The next messages: at most ``limit``, and none if none arrives for so long.

        Raises:
            Retryable: the log can't be reached, or the offsets can't be read. The reader is no longer usable.
        """

    def since(self, partition: Partition) -> int:
        """The offset from which on the messages of a partition are read that no transaction has included yet.

        Raises:
            Retryable: another reader has the partition now.
        """

    def passed(self) -> dict[Partition, int]:
        """The end of each partition whose end was reached since the last call; no message before it is unread.

        What ends a transaction occupies offsets after its last message.
        """

    def commit(self, progress: Mapping[Partition, Progress]) -> None:
        """Take that these messages are stored. Where the next reader begins, ``LogOffsets`` alone says."""

    def close(self) -> None:
        """Give the partitions back, and close the connections."""


class LogOffsets(Protocol):
    """How far the log was read, as the store knows it."""

    def next_offsets(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The first message of each partition that was not read; partitions that were never read are left out.

        Raises:
            Retryable: the store can't be reached.
        """


class ProjectionProgress(Protocol):
    """Up to when the log is projected. Every method raises Retryable when the store can't be reached."""

    def projected_until(self) -> datetime | None:
        """The time before which every delivery was projected that was appended to the log; None: not known yet."""

    def raise_projected_until(self, at: datetime) -> None:
        """Take a later time; an earlier one changes nothing."""


class PublishedRules(Protocol):
    """Which versions of flows the log says are in force. Every method raises Retryable without the store."""

    def raise_published(self, generation: int, at: datetime) -> None:
        """Note that the log has the rules of a generation since a time; an earlier generation changes nothing."""

    def are_taken(self) -> bool:
        """Whether the job judges by the rules in force, and all that it judged by earlier ones is projected."""


class LogWriter(Protocol):
    """The part of a unit of work that says what was read of the log."""

    def advance(self, progress: Mapping[Partition, Progress]) -> None:
        """Begin to move offsets.

        Raises:
            ConflictError: here or later in the unit of work: an offset is not at ``since``. Another projector has read
                the partition.
        """

    def begin_archive(self, progress: Mapping[Partition, Progress]) -> None:
        """Begin to let the archive read the log from ``since`` of each partition on, unless it has begun before."""

    def pass_archive(self, progress: Mapping[Partition, Progress]) -> Mapping[Partition, int]:
        """Let the archive pass over messages that are stored here instead, unless it has earlier ones to read.

        Returns:
            The offset before which the archive has read the messages from ``since`` on, for the partitions that it has
            begun to read.
        """

    def raise_counts(self, counts: Sequence[Count]) -> Pending[list[Count]]:
        """Begin to take counts of all deliveries so far; the result is what they add to the known ones.

        A count that is smaller than the known one is older, and adds nothing.

        Args:
            counts: with distinct keys, sorted by (minute, source, type).
        """
