"""Drives a run from its first event to its summary."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from helios.model.events import Source

from . import endpoints
from .anomalies import Truth
from .answers import Publisher
from .display import Display
from .lanes import Lane
from .options import Options
from .plan import Planner
from .schedule import Schedule
from .tally import Summary, Tally
from .webhook import Webhook

SHORTEST_SLEEP_S: Final = 0.002
"""How late an event may be: event loops round shorter waits down to none, and would spin."""

LONGEST_SLEEP_S: Final = 0.1
"""How soon a stop is noticed."""

PATIENCE_AFTER_STOP_S: Final = 10.0

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
SAME_SIGNAL_S: Final = 1.0
"""Within this time a second signal means the same: a terminal's Ctrl-C comes along with a supervisor's signal."""


async def run(options: Options, display: Display) -> Summary:
    """Send what the options ask for, and tell what came of it.

    The first SIGINT or SIGTERM ends the run in good order: what has begun is sent and answered. A later one ends it
    at once.

    Raises:
        ConfigurationError: an option or a variable is missing or wrong; nothing was sent.
    """
    with Truth(options.truth) as truth:
        tally = Tally(truth, judged=options.via == "webhook")
        publishers = _publishers(options, display)
        planner, schedule = _schedule(options, truth)
        began = time.monotonic()
        lanes = {
            source: Lane(publisher, tally, began=began, patience=options.patience)
            for source, publisher in publishers.items()
        }

        def summary() -> Summary:
            seconds = time.monotonic() - began
            return tally.summary(seconds=seconds, rate_asked=options.rate, orders=planner.orders)

        def stop() -> None:
            schedule.stop()
            for lane in lanes.values():
                lane.hurry(PATIENCE_AFTER_STOP_S)

        try:
            with _signals(stop):
                async with asyncio.TaskGroup() as group:
                    for lane in lanes.values():
                        lane.open(group)
                    shown = group.create_task(display.follow(summary, lanes))
                    await _pace(schedule, lanes, began=began)
                    for lane in lanes.values():
                        await lane.finish()
                    shown.cancel()
        except asyncio.CancelledError:
            display.note("ended at once")
        finally:
            for publisher in set(publishers.values()):
                await publisher.close()
        return summary()


async def _pace(schedule: Schedule, lanes: dict[Source, Lane], *, began: float) -> None:
    """Hand over each event when it is due, never waiting for the answer to another."""
    while (at := schedule.next_at()) is not None:
        delay = began + at - time.monotonic()
        if delay > 0:
            await asyncio.sleep(min(max(delay, SHORTEST_SLEEP_S), LONGEST_SLEEP_S))
            continue
        emission = schedule.take()
        await lanes[emission.source].put(emission)
        await asyncio.sleep(0)  # a queue with room doesn't yield; a run behind its schedule must still send


def _publishers(options: Options, display: Display) -> dict[Source, Publisher]:
    if options.via == "webhook":
        display.note(f"webhooks of {options.url}")
        webhook = Webhook(options.url)
        return dict.fromkeys(options.sources, webhook)
    found = endpoints.find(options.sources, allow_mixed=options.allow_mixed)
    for endpoint in found.values():
        display.note(str(endpoint))
    return {source: endpoints.connect(endpoint) for source, endpoint in found.items()}


def _schedule(options: Options, truth: Truth) -> tuple[Planner, Schedule]:
    start = datetime.now(UTC)
    planner = Planner(
        seed=options.seed,
        start=start,
        via=options.via,
        sources=options.sources,
        error_rate=options.error_rate,
        jitter=options.jitter,
        lateness=options.lateness,
    )
    schedule = Schedule(
        planner,
        start=start,
        rate=options.rate,
        most_events=options.most_events,
        most_orders=options.most_orders,
        without_event=truth.record,
    )
    return planner, schedule


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on the first SIGINT or SIGTERM, and cancel the current task on a later one."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    first: float | None = None

    def handle() -> None:
        nonlocal first
        if first is None:
            first = time.monotonic()
            stop()
        elif task and time.monotonic() - first > SAME_SIGNAL_S:
            task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
