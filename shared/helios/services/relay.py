"""Sends frames from the outbox to the connected clients, in messages that API Gateway accepts."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from helios.errors import Retryable
from helios.model.counts import OTHER_TYPES, Count
from helios.model.stream import StreamFrame
from helios.notify import notify_best_effort
from helios.ports.stream import Broadcaster, Notifier, Outbox

GATEWAY = "api-gateway"
"""The consumer name of the relay that posts to API Gateway."""

MAX_MESSAGE_BYTES = 32 * 1024
"""Amazon API Gateway quotas, "WebSocket frame size": a larger message is billed and sent in parts."""

BATCH = 500
"""Frames read at once, and thus the most that are sent twice when a relay dies."""

_HEAD, _TAIL = b'{"type":"frames","frames":[', b"]}"


def relay(
    consumer: str,
    *,
    outbox: Outbox,
    broadcaster: Broadcaster,
    seconds: float = math.inf,
    notifier: Notifier | None = None,
) -> int:
    """Send every frame that has not been sent, in order, at least once.

    Positions are durable before a frame is sent. A relay that dies in between sends the same frames with the same
    positions again, so clients can discard them. The offset is committed after each page, so that a backlog of any
    length is sent eventually, however often a relay is stopped.

    Args:
        consumer: the consumer whose offset is committed; two relays with the same name take turns.
        outbox: holds the frames.
        broadcaster: sends to all connected clients.
        seconds: the time after which no further message is begun; the first message is always sent.
        notifier: notified when frames are left after that time.

    Returns:
        The number of frames that were sent.

    Raises:
        Retryable: some frames may not have been sent. The next call sends them.
    """
    deadline = time.monotonic() + seconds
    outbox.number()
    sent = 0
    while page := _page(consumer, outbox, broadcaster, deadline):
        sent += page
        if time.monotonic() >= deadline:
            notify_best_effort(notifier)
            break
    return sent


def _page(consumer: str, outbox: Outbox, broadcaster: Broadcaster, deadline: float) -> int:
    """Send the next frames, and return how many. If sending fails, the offset covers the frames sent before."""
    failure: Retryable | None = None
    with outbox.offset(consumer) as offset:
        frames = outbox.frames(after=offset.position, limit=BATCH)
        for position, message in messages(frames):
            try:
                broadcaster.broadcast(message)
            except Retryable as error:
                failure = error
                break
            # After each message: Postgres would end a transaction that is idle while a whole page is sent.
            offset.commit(position)
            if time.monotonic() >= deadline:
                break
        sent = sum(frame.position <= offset.position for frame in frames)
    if failure:
        raise failure
    return sent


def messages(frames: Iterable[StreamFrame]) -> Iterator[tuple[int, bytes]]:
    """The frames as pairs of the last position and a JSON message of at most MAX_MESSAGE_BYTES.

    A message is ``{"type": "frames", "frames": [...]}``.

    A frame that is too large for a message is reduced: it shows fewer events and flows, and counts its rarest types as
    one type. The sums of its counts never change. A frame that is still too large is sent as
    ``{"type": "position", "position": N}``: clients get it from ``/api/v1/frames``.
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
            yield position, msgspec.json.encode({"type": "position", "position": position})
        else:
            encoded_frames.append(encoded)
            size += len(encoded) + 1
    if encoded_frames:
        yield position, _HEAD + b",".join(encoded_frames) + _TAIL


def _encode_within(frame: StreamFrame, room: int) -> bytes | None:
    """The frame as JSON of at most ``room`` bytes, reduced if necessary; None if it is still larger."""
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
    return encoded if len(encoded) <= room else None


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
