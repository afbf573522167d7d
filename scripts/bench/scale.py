"""Many small writers, some of them far from Postgres: events per second by distance, batch and number of writers."""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from helios.processes.ports import HOST
from scripts.bench.proxy import distant
from scripts.bench.report import Table, median, percentile
from scripts.bench.servers import Servers
from scripts.bench.writers import WARM_UP, Job, Result, write

ROUND_TRIPS_MS = (0, 5, 20)
BATCHES = (1, 10)
WRITERS = (1, 4, 16, 48)
FAR, NEAR = 20, 0
MANY, ALL = 16, 48
REPEATS = 3
COUNTING_SECONDS = 1

REFUSALS = "SELECT xact_rollback, deadlocks FROM pg_stat_database WHERE datname = current_database()"


class Case(NamedTuple):
    """One row of the table.

    Attributes:
        round_trip: milliseconds to Postgres and back, added by a proxy; 0: none is added.
    """

    round_trip: int
    batch: int
    writers: int


class Measured(NamedTuple):
    """What a case gave.

    Attributes:
        round_trips: how often a batch waits for Postgres.
    """

    result: Result
    round_trips: float


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """The table of all cases, bare inserts beside some of them, the goals, and the writers that share their orders."""
    seconds = 2 if quick else 5
    cases = [Case(*each) for each in product(ROUND_TRIPS_MS, BATCHES, WRITERS)]
    measured = {case: _measure(running, case, seconds) for case in cases}
    rows = [
        (
            *case,
            result.rate,
            percentile(result.milliseconds, 50),
            percentile(result.milliseconds, 99),
            round_trips,
        )
        for case, (result, round_trips) in measured.items()
    ]
    columns = ("round trip ms", "batch", "writers", "events/s", "p50 ms", "p99 ms", "round trips")
    title = "Scale: events of distinct orders from processes of their own, through a proxy that delays both ways"
    bare = {writers: _bare(running, writers, seconds) for writers in WRITERS}
    return [
        Table(title=title, columns=columns, rows=rows),
        _beside_bare(measured, bare),
        _goals(measured),
        _shared(running, seconds),
    ]


def _measure(running: Servers, case: Case, seconds: float) -> Measured:
    """A case, with nothing stored before."""
    running.empty()
    if case.round_trip:
        return _through_proxy(running, case, seconds)
    # The proxy would take a part of the processors: it counts on a short run afterwards.
    result = write(_job(running.database_url, running, case, seconds))
    return Measured(result, _through_proxy(running, case._replace(writers=1), COUNTING_SECONDS).round_trips)


def _through_proxy(running: Servers, case: Case, seconds: float) -> Measured:
    database = conninfo_to_dict(running.database_url)
    with distant(str(database["host"]), int(database["port"] or 5432), case.round_trip) as proxy:
        url = make_conninfo(running.database_url, host=HOST, port=proxy.port)
        result = write(_job(url, running, case, seconds))
        return Measured(result, proxy.trips() / (len(result.milliseconds) + case.writers * WARM_UP))


def _bare(running: Servers, writers: int, seconds: float) -> float:
    """Bare inserts a second of as many processes: what their number costs without Helios."""
    running.empty()
    job = _job(running.database_url, running, Case(NEAR, 1, writers), seconds)
    return write(msgspec.structs.replace(job, bare=True)).rate


def _beside_bare(measured: Mapping[Case, Measured], bare: Mapping[int, float]) -> Table:
    rates = {writers: measured[Case(NEAR, 1, writers)].result.rate for writers in WRITERS}
    best, best_bare = max(rates.values()), max(bare.values())
    return Table(
        title=f"Scale: batches of one event at {NEAR} ms, beside bare inserts of as many processes, events/s",
        columns=("writers", "ingest", "bare insert", "ratio", "ingest, of its best", "bare insert, of its best"),
        rows=[
            (
                writers,
                rates[writers],
                bare[writers],
                rates[writers] / bare[writers],
                rates[writers] / best,
                bare[writers] / best_bare,
            )
            for writers in WRITERS
        ],
    )


def _job(database_url: str, running: Servers, case: Case, seconds: float) -> Job:
    return Job(
        database_url=database_url,
        near_url=running.database_url,
        redis_url=running.redis_url,
        writers=case.writers,
        batch=case.batch,
        seconds=seconds,
    )


def _goals(measured: Mapping[Case, Measured]) -> Table:
    """The goals that follow from the table."""

    def rate(round_trip: int, writers: int) -> float:
        return measured[Case(round_trip, 1, writers)].result.rate

    far = {writers: measured[Case(FAR, 1, writers)] for writers in WRITERS}
    best = max(rate(NEAR, writers) for writers in WRITERS if writers < ALL)
    rows = [
        (f"{FAR} ms: round trips of a batch of one writer", "at most 3", far[1].round_trips),
        (f"{FAR} ms: {MANY} writers, as a part of {MANY} times one", "0.8", rate(FAR, MANY) / (MANY * rate(FAR, 1))),
        (f"{FAR} ms: events/s of {ALL} writers", "500", rate(FAR, ALL)),
        (f"{FAR} ms: p99 of {ALL} writers, ms", "below 400", percentile(far[ALL].result.milliseconds, 99)),
        (f"{NEAR} ms: {ALL} writers, as a part of the best of fewer", "0.9", rate(NEAR, ALL) / best),
    ]
    return Table(title="Scale: goals for batches of one event", columns=("of", "goal", "measured"), rows=rows)


def _shared(running: Servers, seconds: float) -> Table:
    """Writers that send the legs of the same orders at the same time, and writers of distinct orders in between."""
    rates: dict[str, list[float]] = {"distinct": [], "shared": []}
    retries = deadlocks = failures = 0
    for _ in range(REPEATS):
        for orders, of_orders in rates.items():
            running.empty()
            before = _refusals(running)
            job = _job(running.database_url, running, Case(NEAR, 1, MANY), seconds)
            result = write(msgspec.structs.replace(job, orders=orders))
            of_orders.append(result.rate)
            if orders == "shared":
                after = _refusals(running)
                retries, deadlocks = retries + after[0] - before[0], deadlocks + after[1] - before[1]
                failures += result.failures
    distinct, shared = median(rates["distinct"]), median(rates["shared"])
    return Table(
        title=f"The three legs of the same orders from {MANY} writers at once, events/s",
        columns=("distinct orders", "same orders", "ratio", "retries", "deadlocks", "failed batches"),
        rows=[(distinct, shared, shared / distinct, retries, deadlocks, failures)],
        goal="goal: ratio of at least 0.7, no deadlock, no failed batch",
    )


def _refusals(running: Servers) -> tuple[int, int]:
    """How many transactions were rolled back, and how many deadlocks there were. Processes that have ended count."""
    with psycopg.connect(running.admin_url, autocommit=True) as connection:
        ((rolled_back, deadlocks),) = connection.execute(REFUSALS).fetchall()
    return rolled_back, deadlocks
