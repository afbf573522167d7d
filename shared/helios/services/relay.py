"""From the outbox to those who watch: positions given once, messages small enough to send."""

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
"""The name in the stream of the relay that posts to API Gateway."""

MAX_MESSAGE_BYTES = 32 * 1024
"""Amazon API Gateway quotas, "WebSocket frame size": a larger message is billed and sent in parts."""

BATCH = 500
"""Frames read at once, and most that are sent again when a relay dies."""

_HEAD, _TAIL = b'{"type":"frames","frames":[', b"]}"


def relay(
    consumer: str,
    *,
    outbox: Outbox,
    broadcaster: Broadcaster,
    seconds: float = math.inf,
    notifier: Notifier | None = None,
) -> int:
    """Send every frame that was not sent yet, in order, at least once.

    Positions are durable before anything is sent, so that a relay which dies in between sends the same frames under
    the same positions again, and who has seen them can tell. The place in the stream moves after each page, so that a
    backlog of any length is sent in the end, however often a relay is stopped.

    Args:
        consumer: whose place in the stream moves; two at once take turns.
        outbox: holds the frames.
        broadcaster: reaches everybody who watches.
        seconds: no message but the first is begun after so many.
        notifier: rung when that has left frames behind.

    Returns:
        How many frames were sent.

    Raises:
        Retryable: some may not have been sent; relaying again sends them.
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
    """Send the next few frames, and tell how many; what was sent stays sent when the rest can't be."""
    failure: Retryable | None = None
    with outbox.offset(consumer) as offset:
        frames = outbox.frames(after=offset.position, limit=BATCH)
        for position, message in messages(frames):
            try:
                broadcaster.broadcast(message)
            except Retryable as error:
                failure = error
                break
            # With each message: Postgres ends a transaction that is idle for as long as a whole page may take.
            offset.commit(position)
            if time.monotonic() >= deadline:
                break
        sent = sum(frame.position <= offset.position for frame in frames)
    if failure:
        raise failure
    return sent


def messages(frames: Iterable[StreamFrame]) -> Iterator[tuple[int, bytes]]:
    """The frames as JSON messages of at most MAX_MESSAGE_BYTES, each after the position of its last frame.

    A message is ``{"type": "frames", "frames": [...]}``.

    A frame that is too large by itself shows fewer events and flows, and its rarest types are counted as one; the sums
    of its counts never change. One that is too large even so is sent as ``{"type": "position", "position": N}``: there
    is such a frame, and it can be had from ``/api/v1/frames``.
    """
    room = MAX_MESSAGE_BYTES - len(_HEAD) - len(_TAIL)
    gathered: list[bytes] = []
    size = position = 0
    for frame in frames:
        encoded = _fitting(frame, room)
        if gathered and (encoded is None or size + len(encoded) + 1 > room):
            yield position, _HEAD + b",".join(gathered) + _TAIL
            gathered, size = [], 0
        position = frame.position
        if encoded is None:
            yield position, msgspec.json.encode({"type": "position", "position": position})
        else:
            gathered.append(encoded)
            size += len(encoded) + 1
    if gathered:
        yield position, _HEAD + b",".join(gathered) + _TAIL


def _fitting(frame: StreamFrame, room: int) -> bytes | None:
    encoded = msgspec.json.encode(frame)
    if len(encoded) > room:
        frame = msgspec.structs.replace(frame, counts=_fewer(frame.counts, room // 2))
        encoded = msgspec.json.encode(frame)
    while len(encoded) > room and (frame.events or frame.flows):
        events, flows = frame.events, frame.flows
        frame = msgspec.structs.replace(
            frame, events=events[len(events) // 2 + 1 :], flows=flows[len(flows) // 2 + 1 :]
        )
        encoded = msgspec.json.encode(frame)
    return encoded if len(encoded) <= room else None


def _fewer(counts: Sequence[Count], room: int) -> list[Count]:
    """The same deliveries, the most frequent types by name in so many bytes, the others together for each source."""
    kept: list[Count] = []
    others: dict[tuple[object, str], Count] = {}
    for count in sorted(counts, key=lambda one: one.received, reverse=True):
        room -= len(msgspec.json.encode(count)) + 1
        if room >= 0:
            kept.append(count)
            continue
        same = Count(minute=count.minute, source=count.source, type=OTHER_TYPES)
        others.setdefault((count.minute, count.source), same).add(count)
    return [*kept, *others.values()]
