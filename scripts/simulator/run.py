"""Runs the simulator, from the first event to the summary."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from helios.model.sources import Source

from . import endpoints
from .anomalies import Truth
from .answers import Publisher
from .display import Display
from .manifests import ALL, Manifests
from .options import Options
from .plan import Emission, Planner
from .providers import PROVIDERS, secret_of, secrets
from .queues import CloudQueue
from .schedule import Schedule
from .tally import Summary, Tally
from .webhook import Webhook

SHORTEST_SLEEP_S: Final = 0.002
"""How late an event may be. Event loops round shorter waits down to zero and would spin."""

MANIFESTS_EVERY_S: Final = 1.0

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
        manifests = Manifests(options.sources, truth, ids_of_eventbridge=options.via == "cloud")
        if options.manifests:
            tally.on_published = manifests.count
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
                    declared = group.create_task(_declare(manifests, queues, began=began))
                    await _pace(schedule, queues, manifests, began=began)
                    declared.cancel()
                    for queue in queues.values():
                        await queue.answered()
                    await _put(manifests.due(ALL, offset=time.monotonic() - began), queues)
                    for queue in queues.values():
                        await queue.finish()
                    shown.cancel()
        except asyncio.CancelledError:
            display.note("interrupted")
        finally:
            for publisher in set(publishers.values()):
                await publisher.close()
        return summary()


async def _pace(schedule: Schedule, queues: dict[Source, CloudQueue], manifests: Manifests, *, began: float) -> None:
    """Queue each event when it is due, without waiting for answers."""
    while (at := schedule.next_at()) is not None:
        delay = began + at - time.monotonic()
        if delay > 0:
            await asyncio.sleep(min(max(delay, SHORTEST_SLEEP_S), LONGEST_SLEEP_S))
            continue
        emission = schedule.take()
        if emission.is_lost and emission.injection:
            manifests.lose(emission, emission.injection)
        else:
            await queues[emission.source].put(emission)
        await asyncio.sleep(0)  # put() doesn't yield while the queue has room; a late run must still send


async def _declare(manifests: Manifests, queues: dict[Source, CloudQueue], *, began: float) -> None:
    """Queue the manifests of each minute that has ended, until cancelled."""
    while True:
        await asyncio.sleep(MANIFESTS_EVERY_S)
        await _put(manifests.due(datetime.now(UTC), offset=time.monotonic() - began), queues)


async def _put(emissions: Sequence[Emission], queues: dict[Source, CloudQueue]) -> None:
    for emission in emissions:
        await queues[emission.source].put(emission)


def _publishers(options: Options, display: Display) -> dict[Source, Publisher]:
    by_webhook = (
        options.sources if options.via == "webhook" else [each for each in options.sources if each in PROVIDERS]
    )
    publishers: dict[Source, Publisher] = {}
    if by_webhook:
        display.note(f"sending {', '.join(by_webhook)} to the webhooks of {options.url}")
        known = secrets(os.environ)
        of_providers = {source: secret_of(source, known) for source in by_webhook if source in PROVIDERS}
        publishers |= dict.fromkeys(by_webhook, Webhook(options.url, secrets=of_providers))
    by_sdk = [source for source in options.sources if source not in publishers]
    cloud_endpoints = endpoints.find(by_sdk, allow_mixed=options.allow_mixed)
    for endpoint in cloud_endpoints.values():
        display.note(str(endpoint))
    return publishers | {source: endpoints.connect(endpoint) for source, endpoint in cloud_endpoints.items()}


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
        varied=options.varied,
        lost=options.manifests,
        undelivered=options.undelivered,
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
