"""How far the messages of the log that a reader has read move its partitions."""

from collections.abc import Mapping, Sequence

from helios.ports.log import LogMessage, LogReader, Partition, Progress


def progress_of(
    messages: Sequence[LogMessage], passed: Mapping[Partition, int], reader: LogReader
) -> dict[Partition, Progress]:
    """How far these messages move each partition. Offsets have gaps, where transactions end or compaction was.

    Args:
        messages: in the order of each partition.
        passed: the ends of partitions that are reached with these messages. What ends a transaction is no message:
            without the ends, two readers that have read everything could differ.
        reader: has read them.
    """
    until = {(message.topic, message.partition): message.offset + 1 for message in messages}
    return {
        place: Progress(reader.since(place), max(until.get(place, 0), passed.get(place, 0)))
        for place in [*until, *(place for place in passed if place not in until)]
    }
