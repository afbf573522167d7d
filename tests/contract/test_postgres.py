"""Tests of Postgres alone: migrations, query plans, outages and refused values."""

import os
import socket
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import psycopg
import pytest

from helios import __main__ as command_line
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres import migrate as migrations
from helios.adapters.postgres.connection import Pool, open_pool
from helios.adapters.postgres.flows import OVERDUE_FLOWS, WRITE_FLOWS, columns
from helios.adapters.postgres.migrate import migrate
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.stream import PostgresOutbox
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.errors import ConfigurationError, Rejected, Retryable
from helios.model.flows import FlowFilter, FlowStatus
from helios.normalise import normalise
from helios.reconciliation.evaluate import BEFORE, FlowEvaluator
from helios.reconciliation.evidence import EvidenceExtractor, EvidenceSet
from helios.reconciliation.record import record
from helios.services.ingest import ingest
from helios.services.reconciler import MIN_ROWS_TO_HALVE, Reconciler
from tests.support.deliveries import NOON, eventbridge, poison
from tests.support.instances import ORDER, leg


@pytest.fixture
def empty_database(postgres_server):
    """A separate database without tables."""
    with psycopg.connect(postgres_server.admin_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS migrated")
        connection.execute("CREATE DATABASE migrated OWNER helios")
    return psycopg.conninfo.make_conninfo(postgres_server.url, dbname="migrated")


def test_migrations_apply_once(empty_database):
    names = [name for name, _ in migrations.migrations()]

    assert migrate(empty_database) == names
    assert migrate(empty_database) == []


def test_a_changed_migration_is_refused(empty_database, monkeypatch):
    migrate(empty_database)
    changed = [(name, sql + "-- changed") for name, sql in migrations.migrations()]
    monkeypatch.setattr(migrations, "migrations", lambda: changed)

    with pytest.raises(ConfigurationError, match="was changed after it was applied"):
        migrate(empty_database)


def test_a_database_that_is_newer_than_the_code_is_refused(empty_database, monkeypatch):
    migrate(empty_database)
    monkeypatch.setattr(migrations, "migrations", list)

    with pytest.raises(ConfigurationError, match=r"0001_events\.sql"):
        migrate(empty_database)


def test_a_failed_migration_changes_nothing(empty_database, monkeypatch):
    both = [("1.sql", "CREATE TABLE half (a int);"), ("2.sql", "CREATE TABLE half (a int);")]
    monkeypatch.setattr(migrations, "migrations", lambda: both)

    with pytest.raises(Retryable, match='no migration was applied: Postgres: relation "half" already exists'):
        migrate(empty_database)
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)


def test_an_unreachable_database_is_reported_in_one_line(monkeypatch, capsys):
    monkeypatch.setenv("HELIOS_DATABASE_URL", "postgresql://helios@127.0.0.1:9/helios")

    assert command_line.main(["migrate"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("helios: no migration was applied: Postgres: ")
    assert "127.0.0.1" in error
    assert error.count("\n") == 1


def test_the_migration_computes_totals_of_existing_counts(empty_database, monkeypatch):
    all_migrations = migrations.migrations()
    monkeypatch.setattr(
        migrations, "migrations", lambda: [migration for migration in all_migrations if migration[0] < "0003"]
    )
    migrate(empty_database)
    with psycopg.connect(empty_database) as connection:
        connection.execute(
            "INSERT INTO event_counts (minute, source, type, stored, duplicate, contradictory, rejected)"
            " VALUES ('2025-11-25 11:59Z', 'aws', 'a', 1, 2, 3, 4), ('2025-11-25 12:00Z', 'aws', 'b', 10, 20, 30, 40),"
            " ('2025-11-26 11:59Z', 'gcp', 'a', 100, 0, 0, 0), ('2025-11-26 11:59Z', 'unknown', '', 0, 0, 0, 5)"
        )
    monkeypatch.setattr(migrations, "migrations", lambda: all_migrations)
    migrate(empty_database)
    with open_pool(empty_database, connections=1, timeout_seconds=10) as pool:
        totals = PostgresReader(pool).totals(NOON)

    assert (totals.stored, totals.duplicate, totals.contradictory, totals.rejected) == (111, 22, 33, 49)
    assert totals.last_24h == 110
    assert totals.events_by_source == {"aws": 11, "gcp": 100, "azure": 0}


def test_flow_instances_survive_the_migration_from_objects(empty_database, monkeypatch):
    """This includes their evidence, with overflow, and their sums by minute."""
    all_migrations = migrations.migrations()
    monkeypatch.setattr(
        migrations, "migrations", lambda: [migration for migration in all_migrations if migration[0] < "0008"]
    )
    migrate(empty_database)
    order, payment = leg("order"), leg("payment", after=1)
    first = normalise(order)
    (keyed,) = EvidenceExtractor([ORDER]).extract(first)
    item = {
        "leg": "order",
        "source": "aws",
        "id": first.id,
        "content": keyed.evidence.content,
        "time": "2025-11-26T12:00:00Z",
        "received_at": "2025-11-26T11:59:59Z",
        "fields": {"amount": "10", "currency": "EUR", "note": 'a "b"\\ ü\n'},
        "deliveries": 2,
    }
    evidence_set = {"pieces": [item], "others": {"order": 3}}
    with psycopg.connect(empty_database) as connection:
        connection.execute(
            "INSERT INTO flows VALUES ('order', 'ORD-1', 'open', 10, %(opened)s, %(opened)s + interval '90 seconds',"
            " NULL, %(opened)s, NULL, true, 1, '{duplicate}', %(ledger)s)",
            {
                "opened": NOON - timedelta(seconds=1),
                "ledger": msgspec.json.encode(evidence_set).decode(),
            },
        )
        connection.execute(
            "INSERT INTO flow_counts SELECT %s + minute * interval '1 minute', 'order', 'status', 'open', 1, 2.5, 0"
            " FROM generate_series(-15, 15) AS minute",
            [NOON],
        )
    monkeypatch.setattr(migrations, "migrations", lambda: all_migrations)
    assert migrate(empty_database) == [name for name, _ in all_migrations if name >= "0008"]
    with open_pool(empty_database, connections=1, timeout_seconds=10) as pool:
        reader = PostgresReader(pool)
        ingest([order, payment], dedupe=NullDedupeCache(), store=PostgresStore(pool), reconciler=Reconciler([ORDER]))
        record = reader.flow(("order", "ORD-1"))
        counts = reader.flow_counts(
            None, since=NOON - timedelta(minutes=12), until=NOON + timedelta(minutes=14), bucket=timedelta(hours=1)
        )

    assert record is not None
    assert [(each.leg, each.deliveries) for each in record.evidence_set.items] == [("order", 3), ("payment", 1)]
    assert record.evidence_set.items[0].fields == item["fields"]
    assert (record.evidence_set.overflow, record.issues) == ({"order": 3}, ["duplicate"])
    assert sum(each.instances for each in counts if each.what == "status") == 26
    assert sum(each.amount for each in counts) == Decimal("65.0")


def test_a_deferred_flow_instance_survives_the_migration(empty_database, monkeypatch):
    """Its verdict and its amount stay the same."""
    all_migrations = migrations.migrations()
    monkeypatch.setattr(
        migrations, "migrations", lambda: [migration for migration in all_migrations if migration[0] < "0013"]
    )
    migrate(empty_database)
    row = """
    INSERT INTO flows
        (flow, key, status, amount, currency, opened_at, deadline, waiting, clouds, issues, version, ledger)
    VALUES
        ('order', 'ORD-1', 'open', 12.50, 'EUR', %(noon)s, %(noon)s, true, 2, '{duplicate}', 3, %(ledger)s)
    """
    with psycopg.connect(empty_database) as connection:
        connection.execute(row, {"noon": NOON, "ledger": '[[],{},"2025-11-26T13:00:00Z"]'})
    monkeypatch.setattr(migrations, "migrations", lambda: all_migrations)
    migrate(empty_database)
    with open_pool(empty_database, connections=1, timeout_seconds=10) as pool:
        record = PostgresReader(pool).flow(("order", "ORD-1"))
        with pool.connection() as connection:
            deferrals = connection.execute("SELECT deferred_until FROM flow_instances").fetchall()

    assert deferrals == [(NOON + timedelta(hours=1),)]
    assert record is not None
    assert (record.status, record.amount, record.currency, record.clouds) == ("open", Decimal("12.50"), "EUR", 2)
    assert (record.issues, record.version, record.evidence_set.deferred_until) == (
        ["duplicate"],
        3,
        NOON + timedelta(hours=1),
    )


# The searched rows are at the far end: a day of matched instances, then the problems, then the open ones.
FILL = """
INSERT INTO flow_instances (flow, key, status, opened_at, deferred_until, waiting, issues, version, details)
SELECT 'order', 'ORD-' || number, status, at, at, status = 'open',
       CASE status WHEN 'matched' THEN '{}' WHEN 'open' THEN '{}' ELSE ARRAY['missing'] END, 1,
       '[null,null,null,3,[[],{},null]]'
FROM (
    SELECT number, now() - number * interval '1 second' AS at,
           CASE WHEN number <= 60000 THEN 'matched' WHEN number <= 60100 THEN 'incomplete'
                WHEN number <= 60200 THEN 'matched_late' ELSE 'open' END AS status
    FROM generate_series(1, 60300) AS number
) AS instances
"""
MAX_ROWS_READ = 1000
MAX_STATEMENTS = 15


class ExplainingReader(PostgresReader):
    """A reader that records the number of rows that each query read, and the tables it scanned."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.rows_read: list[int] = []
        self.scanned_tables: list[str] = []

    def _all(self, query, parameters):
        with self._pool.connection() as connection:
            ((plans,),) = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", parameters).fetchall()
        self.rows_read.append(0)
        self._note(plans[0]["Plan"])
        return super()._all(query, parameters)

    def _note(self, plan) -> None:
        if plan["Node Type"] == "Seq Scan":
            self.scanned_tables.append(plan["Relation Name"])
        if "Scan" in plan["Node Type"]:
            removed = sum(plan.get(f"Rows Removed by {reason}", 0) for reason in ("Filter", "Index Recheck"))
            self.rows_read[-1] += int((plan["Actual Rows"] + removed) * plan["Actual Loops"])
        for child in plan.get("Plans", ()):
            self._note(child)


@pytest.fixture
def explaining(pool) -> ExplainingReader:
    """A reader of sixty thousand flow instances."""
    with pool.connection() as connection:
        connection.execute(FILL)
        connection.execute("ANALYZE flow_instances")
    return ExplainingReader(pool)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"status": ("mismatched", "incomplete")}, 50),
        ({"status": ("incomplete",)}, 50),
        ({"status": ("mismatched",)}, 0),
        ({"status": ("matched_late",)}, 50),
        ({"status": ("open",)}, 50),
        ({"issue": ("missing",)}, 50),
        ({"issue": ("mismatch",)}, 0),
        ({"key": "ORD-6012"}, 11),
        ({"key": "ORD-nobody"}, 0),
        ({"key": "ORD-601", "status": ("mismatched", "incomplete")}, 1),
        ({}, 50),
    ],
    ids=str,
)
def test_a_list_of_flow_instances_reads_only_a_bounded_number_of_rows(explaining, where, expected):
    page = explaining.flows(FlowFilter(flow=("order", "shipment"), **where), after=None, limit=50)

    assert len(page.items) == expected
    assert explaining.rows_read[0] <= MAX_ROWS_READ
    assert explaining.scanned_tables == []


def test_the_oldest_and_the_overdue_read_only_a_bounded_number_of_rows(explaining, pool):
    assert explaining.oldest_open(["order", "shipment"])
    assert explaining.rows_read[0] <= MAX_ROWS_READ
    assert explaining.scanned_tables == []

    now = datetime.now(UTC)
    due = {"flow": ["order"], "opened_by": [now], "deferred_by": [now - timedelta(days=9)], "limit": 500}
    assert explaining._all(OVERDUE_FLOWS, due) == []
    assert explaining.rows_read[1] <= MAX_ROWS_READ
    assert explaining.scanned_tables == []


def test_flow_instances_are_locked_in_the_given_order(pool):
    """The plan does not reorder the parameters. Otherwise writers of the same instances would deadlock."""
    (keyed,) = EvidenceExtractor([ORDER]).extract(normalise(leg("order")))
    records = [
        record(FlowEvaluator(ORDER), f"ORD-{n}", EvidenceSet(items=[keyed.evidence]), now=BEFORE, version=1)
        for n in range(500)
    ]
    with pool.connection() as connection:
        ((plans,),) = connection.execute(f"EXPLAIN (FORMAT JSON) {WRITE_FLOWS}", columns(records)).fetchall()
    plan = plans[0]["Plan"]
    assert (plan["Node Type"], [child["Node Type"] for child in plan["Plans"]]) == ("ModifyTable", ["Function Scan"])


@pytest.mark.parametrize("known", [False, True])
def test_the_number_of_statements_does_not_depend_on_the_size_of_a_batch(pool, monkeypatch, known):
    """The batch has new or known instances, a duplicate, a contradiction and an unreadable delivery."""
    executed: list[str] = []
    execute = psycopg.Connection.execute

    def record_and_execute(connection, query, *arguments, **options):
        executed.append(str(query))
        return execute(connection, query, *arguments, **options)

    def batch(prefix: str, size: int, *names: str):
        legs = [leg(name, f"{prefix}-{number}") for number in range(size) for name in names]
        return [*legs, legs[0], leg("payment", f"{prefix}-0", amount=99), poison()]

    store, reconciler = PostgresStore(pool), Reconciler([ORDER])
    statement_counts = []
    for prefix, size in (("FEW", 2), ("MANY", MIN_ROWS_TO_HALVE), ("MORE", 3 * MIN_ROWS_TO_HALVE)):
        if known:
            ingest(
                batch(prefix, size, "order", "payment"), dedupe=NullDedupeCache(), store=store, reconciler=reconciler
            )
        executed.clear()
        with monkeypatch.context() as patched:
            patched.setattr(psycopg.Connection, "execute", record_and_execute)
            deliveries = batch(prefix, size, "payment", "inventory")
            ingest(deliveries, dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
        statement_counts.append(len(executed))

    few, many, more = statement_counts
    assert few <= many == more <= MAX_STATEMENTS


def test_the_totals_at_a_position_exclude_unnumbered_frames(pool):
    """A client may therefore add later frames to the totals."""
    reader, outbox = PostgresReader(pool), PostgresOutbox(pool)

    def numbered_totals() -> tuple[int, int, int]:
        totals = reader.totals(NOON, only_numbered=True)
        return (totals.position, totals.stored, totals.duplicate)

    ingest([eventbridge("1"), eventbridge("1")], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    outbox.number()
    assert numbered_totals() == (1, 1, 1)
    ingest([eventbridge("1"), eventbridge("2")], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    assert numbered_totals() == (1, 1, 1)
    assert reader.totals(NOON).stored == 2
    outbox.number()
    assert numbered_totals() == (2, 2, 2)


def test_the_sums_at_a_position_name_the_changes_in_unnumbered_frames(pool):
    reader, outbox = PostgresReader(pool), PostgresOutbox(pool)
    day = timedelta(days=1)

    def ingest_legs(*names: str) -> None:
        legs = [leg(name) for name in names]
        ingest(legs, dedupe=NullDedupeCache(), store=PostgresStore(pool), reconciler=Reconciler([ORDER]))

    def unnumbered() -> tuple[int, dict[FlowStatus, int]]:
        sums = reader.flow_sums(None, since=NOON - day, until=NOON + day, bucket=2 * day)
        return (sums.position, sums.unnumbered)

    ingest_legs("order")
    assert unnumbered() == (0, {"open": 1})
    outbox.number()
    assert unnumbered() == (1, {})
    ingest_legs("payment")
    ingest_legs("inventory")
    assert unnumbered() == (1, {"open": -1, "matched": 1})
    outbox.number()
    assert unnumbered() == (3, {})


@pytest.mark.parametrize("tables", ["events, event_counts", "event_counts, event_totals"])
def test_truncated_counts_have_empty_totals(pool, tables):
    ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    with pool.connection() as connection:
        connection.execute(f"TRUNCATE {tables}")

    assert PostgresReader(pool).totals(NOON).stored == 0


def test_an_outage_of_the_database_is_retryable_and_ends_with_it(postgres_server, pool):
    store, reader = PostgresStore(pool), PostgresReader(pool)
    ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=store)
    postgres_server.stop()
    try:
        with pytest.raises(Retryable):
            ingest([eventbridge("2")], dedupe=NullDedupeCache(), store=store)
        with pytest.raises(Retryable):
            reader.probe()
    finally:
        postgres_server.start()
    outcomes = ingest([eventbridge("1"), eventbridge("2")], dedupe=NullDedupeCache(), store=store)

    assert [outcome.status for outcome in outcomes] == ["duplicate", "stored"]


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="TCP_USER_TIMEOUT is Linux' own")
def test_connections_have_a_tcp_timeout_and_keepalives(database_url):
    """The test checks the socket options, because no gateway on one machine drops a connection."""
    with open_pool(database_url, connections=1, timeout_seconds=7) as pool, pool.connection() as connection:
        connection_socket = socket.socket(fileno=os.dup(connection.pgconn.socket))
        with connection_socket:
            assert connection_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
            assert connection_socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert connection_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_too_many_connections_are_retryable(postgres_server, database_url, pool):
    """53300, too_many_connections, is an error of the environment and not of the event."""
    with psycopg.connect(postgres_server.admin_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0 PASSWORD 'crowded'")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO crowded")
        url = psycopg.conninfo.make_conninfo(database_url, user="crowded", password="crowded")
        crowded = open_pool(url, connections=1, timeout_seconds=1)
        with pytest.raises(Retryable):
            ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=PostgresStore(crowded))
        crowded.close()
        connection.execute("DROP OWNED BY crowded")
        connection.execute("DROP ROLE crowded")


def test_a_value_that_postgres_refuses_is_rejected_alone(database_url, pool):
    """A value that passes the normaliser and not Postgres must not block its batch."""
    with pool.connection() as connection:
        connection.execute("ALTER TABLE events ADD CONSTRAINT picky CHECK (id <> '3')")
    try:
        outcomes = ingest(
            [eventbridge(str(number)) for number in range(1, 6)], dedupe=NullDedupeCache(), store=PostgresStore(pool)
        )
    finally:
        with pool.connection() as connection:
            connection.execute("ALTER TABLE events DROP CONSTRAINT picky")

    assert [outcome.status for outcome in outcomes] == ["stored", "stored", "rejected", "stored", "stored"]
    assert "(SQLSTATE 23514)" in (outcomes[2].reason or "")
    assert "picky" not in (outcomes[2].reason or "")


def test_a_slow_statement_is_retryable(database_url):
    """The batch waits for a lock longer than the limit. Nothing is stored, and the cloud redelivers it."""
    impatient = open_pool(database_url, connections=1, timeout_seconds=1)
    with psycopg.connect(database_url) as blocker:
        blocker.execute("LOCK TABLE events")
        with pytest.raises(Retryable, match="timeout"):
            ingest([eventbridge("slow")], dedupe=NullDedupeCache(), store=PostgresStore(impatient))
    impatient.close()


def test_an_error_keeps_its_type_when_a_transaction_rolls_back(pool):
    store = PostgresStore(pool)
    with pytest.raises(Rejected, match="first"), store.transaction():
        raise Rejected("first", field="body")
