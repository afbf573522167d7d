"""Forwards every stored event, and no other, from the outbox to an external system such as Kafka."""

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from helios.errors import Retryable
from helios.model.events import Event, Key
from helios.model.stream import Parked, StreamEvents
from helios.ports.stream import EventSink, Listener, Outbox

log = logging.getLogger("helios.sink")

KAFKA = "kafka"
"""The consumer name of the Kafka sink: its offset is stored under this name, however many processes share the work."""

BATCH = 10
"""Frames forwarded at once. Few, because a frame has up to a whole batch of events, and a failure resends all."""

PARKED_BATCH = 500
"""Parked events sent again at once."""

POLL_SECONDS = 1.0
"""The longest wait for a notification: a lost notification, or a request to stop, takes at most this long."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
"""The pauses after failures double from the first to the longest."""


def sink(consumer: str, *, outbox: Outbox, target: EventSink) -> int:
    """Forward the events of the next frames, in order, at least once.

    The offset is committed after the target has acknowledged every event. A sink that dies before that forwards the
    same events again. An event that the target refuses permanently is parked with the reason, and blocks no other.

    Args:
        consumer: the consumer whose offset is committed; two sinks with the same name take turns.
        outbox: holds the stored events.
        target: receives the events.

    Returns:
        The number of frames that were processed; 0 when there are no more.

    Raises:
        Retryable: some events may not have been forwarded. The next call forwards all of them.
    """
    outbox.number()
    with outbox.offset(consumer) as offset:
        frames = outbox.events(after=offset.position, limit=BATCH)
        if frames:
            _report_gap(consumer, offset.position, frames[0].position)
            if refused := target.send(_events(frames)):
                offset.park(refused)
                _report_refusals(consumer, refused)
            offset.commit(frames[-1].position)
    return len(frames)


class ResendResult(NamedTuple):
    """What became of the parked events.

    Attributes:
        sent: the number that the target accepted.
        refused: the number that stay parked.
    """

    sent: int
    refused: int


def send_parked(consumer: str, *, outbox: Outbox, target: EventSink) -> ResendResult:
    """Send the parked events again, after their cause has been fixed.

    Args:
        consumer: the consumer that parked the events; it forwards nothing else meanwhile.
        outbox: holds the events.
        target: receives the events.

    Raises:
        Retryable: the target can't be reached. The events that it has accepted before are no longer parked.
    """
    sent = still_refused = 0
    last: Key | None = None
    while True:
        with outbox.offset(consumer) as offset:
            events = offset.parked(after=last, limit=PARKED_BATCH)
            if not events:
                return ResendResult(sent, still_refused)
            refused = target.send(sorted(events, key=_moment))
            offset.park(refused)
            offset.release([event.key for event in events if event.key not in {parked.key for parked in refused}])
        last = events[-1].key
        sent, still_refused = sent + len(events) - len(refused), still_refused + len(refused)


def follow(consumer: str, *, outbox: Outbox, target: EventSink, listener: Listener, stopping: threading.Event) -> None:
    """Forward stored events until ``stopping`` is set, and retry while the store or the target can't be reached.

    Args:
        consumer: the consumer whose offset is committed.
        outbox: holds the stored events.
        target: receives the events.
        listener: waits for notifications of new frames.
        stopping: set by the caller to end; the frames in progress are finished first.
    """
    pause = FIRST_PAUSE_SECONDS
    while not stopping.is_set():
        try:
            if not sink(consumer, outbox=outbox, target=target):
                listener.wait(POLL_SECONDS)
            pause = FIRST_PAUSE_SECONDS
        except Retryable as error:
            log.warning("retrying later", extra={"consumer": consumer, "error": str(error), "pause_s": pause})
            stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _events(frames: Sequence[StreamEvents]) -> list[Event]:
    """The events frame by frame, sorted by time within a frame: their order of arrival in a batch is not stored."""
    return [event for frame in frames for event in sorted(frame.events, key=_moment)]


def _moment(event: Event) -> tuple[datetime, datetime, Key]:
    return (event.time, event.received_at, event.key)


def _report_refusals(consumer: str, refused: Sequence[Parked]) -> None:
    reasons = dict(Counter(parked.reason for parked in refused))
    log.error("events refused", extra={"consumer": consumer, "events": len(refused), "reasons": reasons})


def _report_gap(consumer: str, position: int, following: int) -> None:
    """Log missing positions. Positions are gapless, so the sweep has removed these frames, after at least a week."""
    if missed := following - position - 1:
        log.error("frames removed before they were read", extra={"consumer": consumer, "frames": missed})
