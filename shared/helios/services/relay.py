"""Sends frames from the outbox to the connected clients, in messages that API Gateway accepts."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from helios.errors import Retryable
from helios.model.counts import OTHER_TYPES, Count
from helios.model.stream import NewFrames, Reached, StreamFrame
from helios.notify import notify_best_effort
from helios.ports.stream import Broadcaster, Notifier, Outbox

GATEWAY = "api-gateway"
"""The consumer name of the relay that posts to API Gateway."""

MAX_MESSAGE_BYTES = 32 * 1024
"""Amazon API Gateway quotas, "WebSocket frame size": a larger message is billed and sent in parts."""

BATCH = 500
"""Frames read at once, and thus the most that are sent twice when a relay dies."""

_EMPTY = msgspec.json.encode(NewFrames(frames=[]))
_HEAD, _TAIL = _EMPTY[:-2], _EMPTY[-2:]
"""A message before and after its frames, which are encoded one by one to know their size."""

SAMPLE_SECONDS: Final = 0.5
"""The time between two messages to many clients. Each message is a post to each client."""

SAMPLED: Final = 150
"""Frames in one such message: the counts of a frame have about 200 bytes."""

LINGER_SECONDS: Final = 0.25
"""How long a relay function waits before it looks for new frames a last time. This is longer than the interval of the
notifications from another cloud: the frames whose notification was merged into a later one are sent even when that one
is late, because the cloud has frozen the process that sends it."""


def relay(
    consumer: str,
    *,
    outbox: Outbox,
    broadcaster: Broadcaster,
    sample_above: float = math.inf,
    seconds: float = math.inf,
    linger_seconds: float = 0,
    notifier: Notifier | None = None,
) -> int:
    """Send every frame that has not been sent, in order, at least once, unless another relay is doing so.

    Positions are durable before a frame is sent. A relay that dies in between sends the same frames with the same
    positions again, so clients can discard them. The offset is committed after each page, so that a backlog of any
    length is sent eventually, however often a relay is stopped.

    Of two relays with the same name, the second returns at once. The first one looks for new frames again after it has
    released the offset, so that it finds the frames for which the second was called.

    Args:
        consumer: the consumer whose offset is committed.
        outbox: holds the frames.
        broadcaster: sends to all connected clients.
        sample_above: the number of clients above which they get at most a message every SAMPLE_SECONDS.
        seconds: the time after which no further message is begun.
        linger_seconds: how long to wait before looking for new frames a last time.
        notifier: notified when frames are left after that time.

    Returns:
        The number of frames that were sent.

    Raises:
        Retryable: some frames may not have been sent. The next call sends them.
    """
    deadline = time.monotonic() + seconds
    sent = 0
    while True:
        outbox.number()
        page = _page(consumer, outbox, broadcaster, sample_above, deadline)
        if page is None:
            return sent  # the other relay sends the rest
        sent += page.sent
        if not page.sent and time.monotonic() < deadline:
            time.sleep(min(linger_seconds, deadline - time.monotonic()))
        if page.sent and time.monotonic() < deadline:
            continue
        outbox.number()
        if not outbox.frames(after=page.position, limit=1):
            return sent
        if time.monotonic() >= deadline:
            notify_best_effort(notifier)
            return sent


class _Page(NamedTuple):
    """The number of frames that were sent, and the position of the last frame that any relay has sent."""

    sent: int
    position: int


def _page(
    consumer: str, outbox: Outbox, broadcaster: Broadcaster, sample_above: float, deadline: float
) -> _Page | None:
    """Send the next frames; None if another relay is sending. If sending fails, the offset covers the frames before."""
    failure: Retryable | None = None
    with outbox.try_offset(consumer) as offset:
        if offset is None:
            return None
        is_sampled = broadcaster.client_count() > sample_above
        # The wait for the offset and for the frames may have taken the time.
        is_over = time.monotonic() >= deadline
        frames = [] if is_over else outbox.frames(after=offset.position, limit=SAMPLED if is_sampled else BATCH)
        for position, message in messages(sampled(frames) if is_sampled else frames):
            if time.monotonic() >= deadline:
                break
            try:
                broadcaster.broadcast(message)
            except Retryable as error:
                failure = error
                break
            # After each message: Postgres would end a transaction that is idle while a whole page is sent.
            offset.commit(position)
            if is_sampled:  # the offset stays held, so that no other relay sends meanwhile
                time.sleep(max(0.0, min(SAMPLE_SECONDS, deadline - time.monotonic())))
                break
        page = _Page(sum(frame.position <= offset.position for frame in frames), offset.position)
    if failure:
        raise failure
    return page


def sampled(frames: Sequence[StreamFrame]) -> list[StreamFrame]:
    """The same frames with exact counts, and with fewer events and flow instances, so that one message holds them."""
    share = (MAX_MESSAGE_BYTES - len(_HEAD) - len(_TAIL)) // max(1, len(frames)) - 1
    return [_reduced(frame, share)[0] for frame in frames]


def messages(frames: Iterable[StreamFrame]) -> Iterator[tuple[int, bytes]]:
    """The frames as pairs of the last position and a JSON message of at most MAX_MESSAGE_BYTES.

    A message is a ``NewFrames``. A frame that is too large for one is reduced: it shows fewer events and flows, and
    counts its rarest types as one type. The sums of its counts never change. Of a frame that is still too large, only
    the position is sent (``Reached``).
    """
    room = MAX_MESSAGE_BYTES - len(_HEAD) - len(_TAIL)
    encoded_frames: list[bytes] = []
    size = position = 0
    for frame in frames:
        encoded = _encode_within(frame, room)
        if encoded_frames and (encoded is None or size + len(encoded) + 1 > room):
            yield position, _HEAD + b",".join(encoded_frames) + _TAIL
            encoded_frames, size = [], 0
        position = frame.position
        if encoded is None:
            yield position, msgspec.json.encode(Reached(position=position))
        else:
            encoded_frames.append(encoded)
            size += len(encoded) + 1
    if encoded_frames:
        yield position, _HEAD + b",".join(encoded_frames) + _TAIL


def _encode_within(frame: StreamFrame, room: int) -> bytes | None:
    """The frame as JSON of at most ``room`` bytes, reduced if necessary; None if it is still larger."""
    _, encoded = _reduced(frame, room)
    return encoded if len(encoded) <= room else None


def _reduced(frame: StreamFrame, room: int) -> tuple[StreamFrame, bytes]:
    """The frame, reduced as far as ``room`` bytes require and no further than is possible, and its JSON."""
    encoded = msgspec.json.encode(frame)
    if len(encoded) > room:
        frame = msgspec.structs.replace(frame, counts=_reduce_counts(frame.counts, room // 2))
        encoded = msgspec.json.encode(frame)
    while len(encoded) > room and (frame.events or frame.flows):
        events, flows = frame.events, frame.flows
        frame = msgspec.structs.replace(
            frame, events=events[len(events) // 2 + 1 :], flows=flows[len(flows) // 2 + 1 :]
        )
        encoded = msgspec.json.encode(frame)
    return frame, encoded


def _reduce_counts(counts: Sequence[Count], room: int) -> list[Count]:
    """The same deliveries in about ``room`` bytes: frequent types by name, the others as one type per source."""
    named: list[Count] = []
    others: dict[tuple[object, str], Count] = {}
    for count in sorted(counts, key=lambda count: count.received, reverse=True):
        room -= len(msgspec.json.encode(count)) + 1
        if room >= 0:
            named.append(count)
            continue
        empty = Count(minute=count.minute, source=count.source, type=OTHER_TYPES)
        others.setdefault((count.minute, count.source), empty).add(count)
    return [*named, *others.values()]
