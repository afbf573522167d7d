"""From the outbox to others who work with events: all that is stored, and nothing that is not."""

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
"""The sink's name in the stream: its place is kept under it, however many processes share the work."""

BATCH = 10
"""Frames passed on at once. Few, since a frame has up to a whole batch of events: what fails is sent again whole."""

PARKED_BATCH = 500
"""Refused events sent again at once."""

POLL_SECONDS = 1.0
"""How long to sleep without a bell: one that was lost costs no more than this, and neither does the order to end."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
"""Pauses after a failure, each twice the one before."""


def sink(consumer: str, *, outbox: Outbox, target: EventSink) -> int:
    """Pass on the events of the next few frames, in order, at least once.

    The place in the stream moves once the target has acknowledged every event, so that a sink which dies before that
    passes on the same events again. An event that the target refuses for good is parked with the reason, and holds up
    no other.

    Args:
        consumer: whose place in the stream moves; two at once take turns.
        outbox: knows the events that are stored.
        target: where they go.

    Returns:
        How many frames were dealt with; 0 when there are no more.

    Raises:
        Retryable: some may not have been passed on; calling again passes on all of them.
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


class SentAgain(NamedTuple):
    """What became of the events that were parked.

    Attributes:
        sent: how many were taken now.
        refused: how many stay parked.
    """

    sent: int
    refused: int


def send_parked(consumer: str, *, outbox: Outbox, target: EventSink) -> SentAgain:
    """Pass on once more what was refused, when its cause has been mended.

    Args:
        consumer: whose events they are; meanwhile it passes on nothing else.
        outbox: knows them.
        target: where they go.

    Raises:
        Retryable: the target is away; what it has taken until then is not parked any more.
    """
    sent = still = 0
    last: Key | None = None
    while True:
        with outbox.offset(consumer) as offset:
            events = offset.parked(after=last, limit=PARKED_BATCH)
            if not events:
                return SentAgain(sent, still)
            refused = target.send(sorted(events, key=_moment))
            offset.park(refused)
            offset.release([event.key for event in events if event.key not in {one.key for one in refused}])
        last = events[-1].key
        sent, still = sent + len(events) - len(refused), still + len(refused)


def follow(consumer: str, *, outbox: Outbox, target: EventSink, listener: Listener, stopping: threading.Event) -> None:
    """Pass on whatever is stored from now on, and what was not passed on before; whatever is away is waited for.

    Args:
        consumer: whose place in the stream moves.
        outbox: knows the events that are stored.
        target: where they go.
        listener: says when there are more.
        stopping: set to end: the frames that are under way are finished first.
    """
    pause = FIRST_PAUSE_SECONDS
    while not stopping.is_set():
        try:
            if not sink(consumer, outbox=outbox, target=target):
                listener.wait(POLL_SECONDS)
            pause = FIRST_PAUSE_SECONDS
        except Retryable as error:
            log.warning("put off", extra={"consumer": consumer, "error": str(error), "pause_s": pause})
            stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _events(frames: Sequence[StreamEvents]) -> list[Event]:
    """Batch by batch, and within a batch, whose order of arrival nobody keeps, as they happened."""
    return [event for frame in frames for event in sorted(frame.events, key=_moment)]


def _moment(event: Event) -> tuple[datetime, datetime, str, str]:
    return (event.time, event.received_at, event.source, event.id)


def _report_refusals(consumer: str, refused: Sequence[Parked]) -> None:
    reasons = dict(Counter(one.reason for one in refused))
    log.error("events were refused", extra={"consumer": consumer, "events": len(refused), "reasons": reasons})


def _report_gap(consumer: str, position: int, following: int) -> None:
    """Positions have no holes: a missing one is a frame that the sweep has removed, after a week at the earliest."""
    if missed := following - position - 1:
        log.error("frames were removed before they were read", extra={"consumer": consumer, "frames": missed})
