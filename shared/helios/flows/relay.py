"""From the outbox to those who watch: positions given once, messages small enough to send."""

from collections.abc import Iterable, Iterator

import msgspec

from helios.ledger import StreamFrame
from helios.ports import Broadcaster, Outbox

MAX_MESSAGE_BYTES = 32 * 1024
"""Amazon API Gateway quotas, "WebSocket frame size": a larger message is billed and sent in parts."""

BATCH = 500
"""Frames read at once."""

_HEAD, _TAIL = b'{"type":"frames","frames":[', b"]}"


def relay(consumer: str, *, outbox: Outbox, broadcaster: Broadcaster) -> int:
    """Send every frame that was not sent yet, in order, at least once.

    Positions are durable before anything is sent, so that a relay which dies in between sends the same frames under
    the same positions again, and who has seen them can tell.

    Args:
        consumer: whose place in the stream moves; two at once take turns.
        outbox: holds the frames.
        broadcaster: reaches everybody who watches.

    Returns:
        How many frames were sent.

    Raises:
        Retryable: some may not have been sent; relaying again sends them.
    """
    outbox.number()
    sent = 0
    with outbox.cursor(consumer) as cursor:
        while frames := outbox.frames(after=cursor.position, limit=BATCH):
            for position, message in messages(frames):
                broadcaster.broadcast(message)
                # With each message: Postgres ends a transaction that is idle for as long as a whole page may take.
                cursor.advance(position)
            sent += len(frames)
    return sent


def messages(frames: Iterable[StreamFrame]) -> Iterator[tuple[int, bytes]]:
    """The frames as JSON messages of at most MAX_MESSAGE_BYTES, each after the position of its last frame.

    A message is ``{"type": "frames", "frames": [...]}``.

    A frame that is too large by itself shows fewer events and flows; its counts are never cut.
    """
    room = MAX_MESSAGE_BYTES - len(_HEAD) - len(_TAIL)
    gathered: list[bytes] = []
    size = position = 0
    for frame in frames:
        encoded = _fitting(frame, room)
        if gathered and size + len(encoded) + 1 > room:
            yield position, _HEAD + b",".join(gathered) + _TAIL
            gathered, size = [], 0
        gathered.append(encoded)
        size += len(encoded) + 1
        position = frame.position
    if gathered:
        yield position, _HEAD + b",".join(gathered) + _TAIL


def _fitting(frame: StreamFrame, room: int) -> bytes:
    encoded = msgspec.json.encode(frame)
    while len(encoded) > room and (frame.events or frame.flows):
        events, flows = frame.events, frame.flows
        frame = msgspec.structs.replace(
            frame, events=events[len(events) // 2 + 1 :], flows=flows[len(flows) // 2 + 1 :]
        )
        encoded = msgspec.json.encode(frame)
    return encoded
