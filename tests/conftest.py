"""What every test may use: real servers, and the stores on top of them."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from helios.adapters.postgres.connection import Pool, open_pool
from helios.adapters.postgres.migrate import migrate
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.unit_of_work import PostgresStore
from tests.fakes.store import MemoryStore

pytest_plugins = ["tests.fixtures.kafka", "tests.fixtures.servers"]

# A busy machine is no reason to fail: time is measured by `make bench`, not here.
settings.register_profile("helios", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("helios")

TABLES = (
    "events, event_counts, dead_letters, frames, consumers, parked, flow_instances, flow_counts, audit_log, tokens,"
    " replay_jobs"
)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped check is a failed one: nobody reads a list of skips."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


class PostgresSides(PostgresStore, PostgresReader):
    """Both sides of Postgres as one object, as the memory store has them."""


@pytest.fixture(scope="session")
def database_url(postgres_server) -> str:
    """A migrated database, shared by the tests of this run."""
    migrate(postgres_server.url)
    return postgres_server.url


@pytest.fixture
def pool(database_url) -> Iterator[Pool]:
    """Connections to an empty database."""
    opened = open_pool(database_url, connections=4, timeout_seconds=10)
    with opened.connection() as connection:
        connection.execute(f"TRUNCATE {TABLES}")
        connection.execute("UPDATE stream SET position = 0")
    yield opened
    opened.close()


@pytest.fixture
def memory_store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def postgres_store(pool) -> PostgresSides:
    return PostgresSides(pool)


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> MemoryStore | PostgresSides:
    """Every store that Helios ships; each keeps every promise below."""
    return request.getfixturevalue(f"{request.param}_store")
