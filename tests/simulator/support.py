"""Short functions that build plans and schedules of the simulator."""

import math
from datetime import UTC, datetime

from helios.model.sources import BUILT_IN
from scripts.simulator.anomalies import Injection
from scripts.simulator.plan import Emission, Planner
from scripts.simulator.schedule import Schedule

START = datetime(2025, 11, 26, 12, tzinfo=UTC)


def planner(
    *,
    seed=1,
    via="webhook",
    sources=BUILT_IN,
    error_rate=0.05,
    jitter=1.5,
    lateness=5.0,
    varied=0.0,
    lost=False,
    undelivered="",
) -> Planner:
    return Planner(
        seed=seed,
        start=START,
        via=via,
        sources=sources,
        error_rate=error_rate,
        jitter=jitter,
        lateness=lateness,
        varied=varied,
        lost=lost,
        undelivered=undelivered,
    )


def schedule(*, rate=100.0, most_events=math.inf, most_orders=math.inf, missing=None, **planned) -> Schedule:
    """A schedule. Anomalies without an event are appended to ``missing``."""
    injections: list[Injection] = [] if missing is None else missing
    return Schedule(
        planner(**planned),
        start=START,
        rate=rate,
        most_events=most_events,
        most_orders=most_orders,
        without_event=injections.append,
    )


def drain(planned: Schedule) -> list[Emission]:
    """All events of the schedule, in the order in which the simulator would send them."""
    emissions = []
    while planned.next_at() is not None:
        emissions.append(planned.take())
    return emissions
