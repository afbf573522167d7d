"""The log in lists: partitions of messages, a reader that begins where a store says, and the deliveries."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from random import Random

from helios.errors import Retryable
from helios.ports.log import LogMessage, LogOffsets, Partition, Progress


class MemoryLog:
    """The committed messages of every partition.

    Attributes:
        partitions: the number of partitions of each topic.
    """

    def __init__(self, partitions: int = 3) -> None:
        self.partitions = partitions
        self._messages: defaultdict[Partition, list[LogMessage]] = defaultdict(list)

    def append(self, topic: str, key: str, value: bytes | None) -> None:
        """Append a message; there is a gap after each, as after a transaction."""
        partition = (topic, sum(key.encode()) % self.partitions)
        messages = self._messages[partition]
        messages.append(LogMessage(topic, partition[1], 2 * len(messages), value))

    def messages(self) -> dict[Partition, list[LogMessage]]:
        """All messages."""
        return self._messages


class MemoryLogReader:
    """Implements ``LogReader``: it reads the partitions in random turns."""

    def __init__(self, log: MemoryLog, offsets: LogOffsets, random: Random) -> None:
        self._random = random
        self._since = dict.fromkeys(log.messages(), 0) | offsets.next_offsets(list(log.messages()))
        self._unread = {
            partition: [message for message in messages if message.offset >= self._since[partition]]
            for partition, messages in log.messages().items()
        }

    def read(self, *, limit: int, seconds: float) -> list[LogMessage]:
        """The next messages of some partitions."""
        batch: list[LogMessage] = []
        for partition in self._random.sample(sorted(self._unread), len(self._unread)):
            size = self._random.randint(0, limit)
            unread = self._unread[partition]
            batch += unread[:size]
            self._unread[partition] = unread[size:]
        if not batch and any(self._unread.values()):
            return self.read(limit=max(limit, 1), seconds=seconds)
        return batch

    def since(self, partition: Partition) -> int:
        """The offset from which on messages are read that no transaction has included yet."""
        return self._since[partition]

    def passed(self) -> dict[Partition, int]:
        """None: the gap after the last message is not passed."""
        return {}

    def commit(self, progress: Mapping[Partition, Progress]) -> None:
        """Take that these messages are stored."""
        self._since |= {partition: moved.until for partition, moved in progress.items()}

    def close(self) -> None:
        """Does nothing; there are no resources to release."""


class MemoryDeliveryLog:
    """Implements ``DeliveryLog``.

    Attributes:
        values: those of the messages that were appended.
        is_down: whether it takes none.
    """

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.is_down = False

    def append(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Append messages."""
        if self.is_down:
            raise Retryable("the log is down")
        self.values += [value for _, value in messages]

    def probe(self) -> None:
        """Does nothing; the log is in this process."""

    def close(self) -> None:
        """Does nothing; there are no resources to release."""
