"""What only Postgres can get wrong: its layout, its outages, its refusals."""

import os
import socket

import psycopg
import pytest

from helios.adapters.memory import NoSeen
from helios.adapters.postgres import migrate as migrations
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.migrate import migrate
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.store import PostgresStore
from helios.errors import Misconfigured, Rejected, Retryable
from helios.flows.ingest import ingest
from tests.support.deliveries import NOON, eventbridge


@pytest.fixture
def empty_database(postgres_server):
    """A database of its own, without tables."""
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS migrated")
        connection.execute("CREATE DATABASE migrated")
    return psycopg.conninfo.make_conninfo(postgres_server.url, dbname="migrated")


def test_migrations_apply_once(empty_database):
    every = [name for name, _ in migrations.migrations()]

    assert migrate(empty_database) == every
    assert migrate(empty_database) == []


def test_a_migration_that_was_changed_later_is_refused(empty_database, monkeypatch):
    migrate(empty_database)
    changed = [(name, sql + "-- changed") for name, sql in migrations.migrations()]
    monkeypatch.setattr(migrations, "migrations", lambda: changed)

    with pytest.raises(Misconfigured, match="was changed after it was applied"):
        migrate(empty_database)


def test_a_database_that_is_newer_than_the_code_is_refused(empty_database, monkeypatch):
    migrate(empty_database)
    monkeypatch.setattr(migrations, "migrations", list)

    with pytest.raises(Misconfigured, match=r"0001_events\.sql"):
        migrate(empty_database)


def test_a_migration_that_fails_leaves_nothing_behind(empty_database, monkeypatch):
    both = [("1.sql", "CREATE TABLE half (a int);"), ("2.sql", "CREATE TABLE half (a int);")]
    monkeypatch.setattr(migrations, "migrations", lambda: both)

    with pytest.raises(psycopg.errors.DuplicateTable):
        migrate(empty_database)
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)


def test_totals_of_what_was_counted_before_they_were_kept(empty_database, monkeypatch):
    every = migrations.migrations()
    monkeypatch.setattr(migrations, "migrations", lambda: [one for one in every if one[0] < "0003"])
    migrate(empty_database)
    with psycopg.connect(empty_database) as connection:
        connection.execute(
            "INSERT INTO event_counts (minute, source, type, stored, duplicate, contradictory, rejected)"
            " VALUES ('2025-11-25 11:59Z', 'aws', 'a', 1, 2, 3, 4), ('2025-11-25 12:00Z', 'aws', 'b', 10, 20, 30, 40),"
            " ('2025-11-26 11:59Z', 'gcp', 'a', 100, 0, 0, 0), ('2025-11-26 11:59Z', 'unknown', '', 0, 0, 0, 5)"
        )
    monkeypatch.setattr(migrations, "migrations", lambda: every)
    migrate(empty_database)
    with open_pool(empty_database, connections=1, timeout_seconds=10) as pool:
        totals = PostgresReader(pool).totals(NOON)

    assert (totals.stored, totals.duplicate, totals.contradictory, totals.rejected) == (111, 22, 33, 49)
    assert totals.last_24h == 110
    assert totals.events_by_source == {"aws": 11, "gcp": 100, "azure": 0}


@pytest.mark.parametrize("tables", ["events, event_counts", "event_counts, event_totals"])
def test_an_emptied_ledger_has_empty_totals(pool, tables):
    ingest([eventbridge("1")], seen=NoSeen(), store=PostgresStore(pool))
    with pool.connection() as connection:
        connection.execute(f"TRUNCATE {tables}")

    assert PostgresReader(pool).totals(NOON).stored == 0


def test_a_database_that_is_away_is_retryable_and_comes_back(postgres_server, pool):
    store, reader = PostgresStore(pool), PostgresReader(pool)
    ingest([eventbridge("1")], seen=NoSeen(), store=store)
    postgres_server.stop()
    try:
        with pytest.raises(Retryable):
            ingest([eventbridge("2")], seen=NoSeen(), store=store)
        with pytest.raises(Retryable):
            reader.probe()
    finally:
        postgres_server.start()
    outcomes = ingest([eventbridge("1"), eventbridge("2")], seen=NoSeen(), store=store)

    assert [outcome.status for outcome in outcomes] == ["duplicate", "stored"]


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="TCP_USER_TIMEOUT is Linux' own")
def test_a_connection_that_a_gateway_forgot_is_given_up_in_time(database_url):
    """As far as the kernel was told so: nothing on one machine forgets a connection."""
    with open_pool(database_url, connections=1, timeout_seconds=7) as pool, pool.connection() as connection:
        wire = socket.socket(fileno=os.dup(connection.pgconn.socket))
        with wire:
            assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
            assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_no_connection_left_is_retryable(database_url, pool):
    """53300, too_many_connections, is the world's fault and not the event's."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO crowded")
        crowded = open_pool(
            psycopg.conninfo.make_conninfo(database_url, user="crowded"), connections=1, timeout_seconds=1
        )
        with pytest.raises(Retryable):
            ingest([eventbridge("1")], seen=NoSeen(), store=PostgresStore(crowded))
        crowded.close()
        connection.execute("DROP OWNED BY crowded")
        connection.execute("DROP ROLE crowded")


def test_a_value_that_postgres_refuses_is_buried_alone(database_url, pool):
    """Should a value ever pass the normaliser and not Postgres, it must not block its batch."""
    with pool.connection() as connection:
        connection.execute("ALTER TABLE events ADD CONSTRAINT picky CHECK (id <> '3')")
    try:
        outcomes = ingest(
            [eventbridge(str(number)) for number in range(1, 6)], seen=NoSeen(), store=PostgresStore(pool)
        )
    finally:
        with pool.connection() as connection:
            connection.execute("ALTER TABLE events DROP CONSTRAINT picky")

    assert [outcome.status for outcome in outcomes] == ["stored", "stored", "rejected", "stored", "stored"]
    assert "picky" in (outcomes[2].reason or "")


def test_a_slow_statement_is_retryable(database_url):
    """The batch waits for a lock longer than the limit: nothing is stored, and the cloud sends it again."""
    impatient = open_pool(database_url, connections=1, timeout_seconds=1)
    with psycopg.connect(database_url) as blocker:
        blocker.execute("LOCK TABLE events")
        with pytest.raises(Retryable, match="timeout"):
            ingest([eventbridge("slow")], seen=NoSeen(), store=PostgresStore(impatient))
    impatient.close()


def test_rejected_stays_rejected_when_a_transaction_is_undone(pool):
    store = PostgresStore(pool)
    with pytest.raises(Rejected, match="first"), store.transaction():
        raise Rejected("first", field="body")
