"""Runs the simulator, from the first event to the summary."""

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
from .options import Options
from .plan import Planner
from .queues import CloudQueue
from .schedule import Schedule
from .tally import Summary, Tally
from .webhook import Webhook

SHORTEST_SLEEP_S: Final = 0.002
"""How late an event may be. Event loops round shorter waits down to zero and would spin."""

LONGEST_SLEEP_S: Final = 0.1
"""After how long a stop takes effect."""

PATIENCE_AFTER_STOP_S: Final = 10.0

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
SAME_SIGNAL_S: Final = 1.0
"""A second signal within this time is ignored: a supervisor forwards the Ctrl-C that the terminal also sends."""


async def run(options: Options, display: Display) -> Summary:
    """The summary of a run with these options.

    The first SIGINT or SIGTERM ends the run gracefully: events that are due are sent and answered. A later one ends
    the run at once.

    Raises:
        ConfigurationError: an option or a variable is missing or wrong; nothing was sent.
    """
    with Truth(options.truth) as truth:
        tally = Tally(truth, answered_by_helios=options.via == "webhook")
        publishers = _publishers(options, display)
        planner, schedule = _schedule(options, truth)
        began = time.monotonic()
        queues = {
            source: CloudQueue(publisher, tally, began=began, patience=options.patience)
            for source, publisher in publishers.items()
        }

        def summary() -> Summary:
            seconds = time.monotonic() - began
            return tally.summary(seconds=seconds, rate_asked=options.rate, orders=planner.orders)

        def stop() -> None:
            schedule.stop()
            for queue in queues.values():
                queue.give_up_after(PATIENCE_AFTER_STOP_S)

        try:
            with _signals(stop):
                async with asyncio.TaskGroup() as group:
                    for queue in queues.values():
                        queue.open(group)
                    shown = group.create_task(display.follow(summary, queues))
                    await _pace(schedule, queues, began=began)
                    for queue in queues.values():
                        await queue.finish()
                    shown.cancel()
        except asyncio.CancelledError:
            display.note("interrupted")
        finally:
            for publisher in set(publishers.values()):
                await publisher.close()
        return summary()


async def _pace(schedule: Schedule, queues: dict[Source, CloudQueue], *, began: float) -> None:
    """Queue each event when it is due, without waiting for answers."""
    while (at := schedule.next_at()) is not None:
        delay = began + at - time.monotonic()
        if delay > 0:
            await asyncio.sleep(min(max(delay, SHORTEST_SLEEP_S), LONGEST_SLEEP_S))
            continue
        emission = schedule.take()
        await queues[emission.source].put(emission)
        await asyncio.sleep(0)  # put() doesn't yield while the queue has room; a late run must still send


def _publishers(options: Options, display: Display) -> dict[Source, Publisher]:
    if options.via == "webhook":
        display.note(f"sending to the webhooks of {options.url}")
        webhook = Webhook(options.url)
        return dict.fromkeys(options.sources, webhook)
    cloud_endpoints = endpoints.find(options.sources, allow_mixed=options.allow_mixed)
    for endpoint in cloud_endpoints.values():
        display.note(str(endpoint))
    return {source: endpoints.connect(endpoint) for source, endpoint in cloud_endpoints.items()}


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
