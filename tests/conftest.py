"""Fixtures of every test: real servers and the stores on top of them. Hooks: markers, order and progress."""

import json
import os
import signal
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from helios.adapters.postgres.connection import Pool, open_pool
from helios.adapters.postgres.migrate import migrate
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.services.leadership import PERIODIC
from tests.fakes.store import MemoryStore
from tests.support import depth
from tests.support.progress import Progress
from tests.support.schedule import DURATIONS, WholeUnits, known_seconds, longest_first, unit_of
from tests.support.tiers import MARKERS, SLOW, tier_of
from tests.support.waiting import eventually

pytest_plugins = [
    "tests.fixtures.apache_kafka",
    "tests.fixtures.azurite",
    "tests.fixtures.flink",
    "tests.fixtures.kafka",
    "tests.fixtures.objects",
    "tests.fixtures.otelcol",
    "tests.fixtures.servers",
]

depth.register()

TABLES = (
    "events, event_ids, event_counts, dead_letters, frames, consumers, parked, flow_instances, flow_counts,"
    " audit_log, tokens, replay_jobs, archive_files, archive_days, archive_index, restored_partitions,"
    " resolutions, resolution_steps, resolution_actions, incidents, incident_counts, incident_deltas,"
    " manifests, balances, event_repeats, event_arrivals, flow_versions, flow_recomputes,"
    " notifications, notification_deliveries, notification_messages, recoveries, log_offsets, log_counts,"
    " log_progress, log_rules, archive_offsets"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pooler", action="store_true", help="run Helios through PgBouncer in transaction mode")
    parser.addoption(
        "--flink-events", type=int, default=20_000, metavar="N", help="events of the test that kills each part of Flink"
    )
    parser.addoption("--progress", action="store_true", help="print the progress of the tests and a summary by tier")
    parser.addoption(
        "--record-durations", action="store_true", help=f"write the duration of each unit of work to {DURATIONS.name}"
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # by a shell that runs the tests in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # or no process of a test would end at Ctrl-C
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    is_controller = not hasattr(config, "workerinput")
    if is_controller and (config.option.progress or config.option.record_durations) and not config.option.collectonly:
        config.pluginmanager.register(Progress(config), "progress")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> WholeUnits:
    return WholeUnits(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test by its folder, unless the test has a marker of its own, and give each test a unique id.

    Schemathesis adds the operation to a test's name, but not to its id. pytest-xdist identifies tests by their ids: of
    several tests with the same id it would run the first only.
    """
    if item.parent and not item.nodeid.endswith(item.name):
        item._id = type(item.id).parse(f"{item.parent.nodeid}::{item.name}")
    kinds = MARKERS.keys() - {SLOW}
    if not any(item.get_closest_marker(name) for name in kinds):
        item.add_marker(tier_of(item.nodeid).marker)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under pytest-xdist, start with the longest unit of work; every worker must have the same order."""
    if hasattr(config, "workerinput"):
        positions = {unit: number for number, unit in enumerate(longest_first([item.nodeid for item in items]))}
        items.sort(key=lambda item: positions[unit_of(item.nodeid)])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test fails the run, because skips are easily overlooked."""
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    progress = session.config.pluginmanager.get_plugin("progress")
    if progress and progress.left_out and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if progress and session.config.option.record_durations:
        seconds = known_seconds() | {unit: round(spent, 1) for unit, spent in progress.seconds_by_unit.items()}
        DURATIONS.write_text(json.dumps(seconds, indent=0, sort_keys=True) + "\n")


PATIENT_SECONDS = 20
"""How long a test waits for a connection. A busy machine may need more than the two seconds of a function."""


class PostgresSides(PostgresStore, PostgresReader):
    """The writing and the reading side of Postgres in one object, like the memory store."""


@pytest.fixture(scope="session")
def database_url(postgres_server, through_pooler) -> str:
    """A migrated database, shared by the tests of this run; with ``--pooler``, the URL through PgBouncer."""
    url: str = through_pooler(postgres_server.url)
    migrate(url)
    return url


@pytest.fixture(scope="session")
def direct_url(postgres_server, database_url) -> str:
    """The same database without a pooler, for what only a session of its own can have."""
    return str(postgres_server.url)


@pytest.fixture(scope="module")
def empty_database_url(database_url: str) -> str:
    """The same database, which is empty when the first test of a module begins: it has no rules of other tests."""
    with open_pool(database_url, connections=1, timeout_seconds=60) as opened:
        eventually(lambda: _is_emptied(opened), seconds=60)
    return database_url


@pytest.fixture
def within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """No minute ends while the test runs: a process's own rate limit counts in minutes of the clock."""
    shift = 10 - time.time() % 60
    clock = SimpleNamespace(time=lambda: time.time() + shift, monotonic=time.monotonic)
    for module in ("limits.storage.memory", "limits.strategies", "helios.adapters.redis.rate_limit"):
        monkeypatch.setattr(f"{module}.time", clock)


@pytest.fixture
def pool(database_url) -> Iterator[Pool]:
    """Connections to an empty database."""
    opened = open_pool(database_url, connections=4, timeout_seconds=60)
    opened.timeout = PATIENT_SECONDS
    eventually(lambda: _is_emptied(opened), seconds=60)
    yield opened
    opened.close()


def _is_emptied(pool: Pool) -> bool:
    """Empty the database, or leave it as it is if another process keeps one of the locks for it.

    The API of a module may be at work. It takes its locks in another order, so that each of the two could wait for the
    other. This side gives up before Postgres looks for a deadlock, which it does after a second.
    """
    try:
        with pool.connection() as connection, connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '300ms'")
            connection.execute(f"TRUNCATE {TABLES}")
            # A process that a test has killed holds its leases a little longer; the API of other tests keeps its own.
            connection.execute("DELETE FROM leases WHERE name <> %s", [PERIODIC])
            connection.execute("UPDATE stream SET position = 0")
            connection.execute("UPDATE flow_generation SET number = 0")
    except (psycopg.errors.LockNotAvailable, PoolTimeout):
        return False
    return True


@pytest.fixture
def memory_store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def postgres_store(pool) -> PostgresSides:
    return PostgresSides(pool)


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> MemoryStore | PostgresSides:
    """Every implementation of the store; each passes every test that uses this fixture."""
    return request.getfixturevalue(f"{request.param}_store")
