"""The database is healthy only if it can store something now, not if it merely answers."""

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.partitions import AHEAD, MIN_AHEAD, extend, partitions
from helios.adapters.postgres.reader import PostgresReader
from helios.errors import Retryable


@pytest.fixture
def admin(postgres_server) -> Iterator[psycopg.Connection]:
    """The superuser; what it has set on the role and on the server is undone."""
    with psycopg.connect(postgres_server.admin_url, autocommit=True) as connection:
        yield connection
        connection.execute("ALTER ROLE helios RESET ALL")
        connection.execute("ALTER ROLE helios CONNECTION LIMIT -1")


def probe(url: str) -> None:
    """A probe from a new process, whose connection has the settings of now."""
    with open_pool(url, connections=1, timeout_seconds=5) as pool:
        PostgresReader(pool).probe()


def test_a_database_that_stores_is_healthy(direct_url):
    probe(direct_url)


def test_the_probe_changes_no_table(pool, admin, direct_url):
    changes = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables"
    with psycopg.connect(direct_url, autocommit=True) as connection:

        def counted() -> object:
            """The changes until now. A process of Postgres reports its own once a second, or on demand."""
            with pool.connection() as probed:
                probed.execute("SELECT pg_stat_force_next_flush()")
            return connection.execute(changes).fetchone()

        before = counted()
        PostgresReader(pool).probe()
        assert counted() == before


def test_a_read_only_database_is_not(admin, direct_url):
    """A standby after a failover is, and so is a server that its provider locked because its storage is full."""
    admin.execute("ALTER ROLE helios SET default_transaction_read_only = on")
    with pytest.raises(Retryable, match="the database is read-only"):
        probe(direct_url)


def test_a_database_that_can_t_write_a_file_is_not(admin, direct_url):
    """The limit has the effect of a full disk on the probe: Postgres can't write its file."""
    admin.execute("ALTER ROLE helios SET temp_file_limit = '1MB'")
    with pytest.raises(Retryable, match="temporary file size exceeds"):
        probe(direct_url)


def test_a_database_that_accepts_no_new_connection_is_not(admin, direct_url):
    """The API may still have its own connections, while a function of a cloud gets none."""
    with open_pool(direct_url, connections=1, timeout_seconds=5) as pool:
        reader = PostgresReader(pool)
        reader.probe()
        admin.execute("ALTER ROLE helios CONNECTION LIMIT 1")
        with pytest.raises(Retryable, match="too many connections for role"):
            reader.probe()
        admin.execute("ALTER ROLE helios CONNECTION LIMIT -1")
        reader.probe()


def test_a_database_with_too_few_partitions_ahead_is_not(pool):
    """Its sweep does not run: soon no event can be stored. The next sweep makes the database healthy again."""
    now, reader = datetime.now(UTC), PostgresReader(pool)
    try:
        with pool.connection() as connection:
            ahead = [partition for partition in partitions(connection) if partition.since and partition.since > now]
            for partition in ahead[MIN_AHEAD:]:
                connection.execute(f"DROP TABLE {partition.name}")
        reader.probe()

        with pool.connection() as connection:
            connection.execute(f"DROP TABLE {ahead[MIN_AHEAD - 1].name}")
        with pytest.raises(Retryable, match="1 partitions of events are ahead, fewer than 2"):
            reader.probe()
    finally:
        extend(pool, now, days=7)
    assert reader.partitions_ahead() == AHEAD
    reader.probe()
