"""Tests of Postgres alone: migrations, query plans, outages and refused values."""

import json
import os
import re
import socket
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import psycopg
import pytest

from helios import __main__ as command_line
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres import migrate as migrations
from helios.adapters.postgres import stream
from helios.adapters.postgres.connection import SET_PARAMETERS, Pool, open_pool
from helios.adapters.postgres.flows import OVERDUE_FLOWS, WRITE_FLOWS, columns
from helios.adapters.postgres.migrate import migrate
from helios.adapters.postgres.query import Query
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.replay import PostgresReplayJobs
from helios.adapters.postgres.stream import PostgresOutbox
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.errors import ConfigurationError, Rejected, Retryable
from helios.model.events import Delivery, EventFilter, Outcome
from helios.model.flows import FlowFilter
from helios.model.replay import Checkpoint, ReplayFilter
from helios.model.stream import Frame
from helios.normalise import normalise
from helios.reconciliation.evaluate import BEFORE, FlowEvaluator
from helios.reconciliation.evidence import EvidenceExtractor, EvidenceSet
from helios.reconciliation.record import record
from helios.services.ingest import ingest
from helios.services.outcomes import tally
from helios.services.reconciler import MIN_ROWS_TO_HALVE, Reconciler
from tests.support import envelopes
from tests.support.deliveries import NOON, eventbridge, poison
from tests.support.instances import ORDER, leg
from tests.support.waiting import eventually


@pytest.fixture
def empty_database(postgres_server):
    """A separate database without tables."""
    with psycopg.connect(postgres_server.admin_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS migrated")
        connection.execute("CREATE DATABASE migrated OWNER helios")
    return psycopg.conninfo.make_conninfo(postgres_server.url, dbname="migrated")


@pytest.fixture
def migrate_until(empty_database, monkeypatch):
    """Migrates the database to an earlier version: with the migrations before a name, without partitions and grants."""

    def run(name: str) -> None:
        earlier = [migration for migration in migrations.migrations() if migration[0] < name]
        with monkeypatch.context() as patched:
            patched.setattr(migrations, "migrations", lambda: earlier)
            patched.setattr(migrations, "extend_on", lambda *_, **__: 0)
            patched.setattr(migrations, "_grant", lambda _: None)
            migrate(empty_database)

    return run


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
    """Those before it stay applied."""
    both = [("1.sql", "CREATE TABLE a (a int);"), ("2.sql", "CREATE TABLE b (b int); CREATE TABLE a (a int);")]
    monkeypatch.setattr(migrations, "migrations", lambda: both)

    with pytest.raises(Retryable, match=r'2\.sql was not applied: Postgres: relation "a" already exists'):
        migrate(empty_database)
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT to_regclass('a')::text, to_regclass('b')::text").fetchone() == ("a", None)


def test_an_unreachable_database_is_reported_in_one_line(monkeypatch, capsys):
    monkeypatch.setenv("HELIOS_DATABASE_URL", "postgresql://helios@127.0.0.1:9/helios")

    assert command_line.main(["migrate"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("helios: no migration was applied: Postgres: ")
    assert "127.0.0.1" in error
    assert error.count("\n") == 1


def test_the_migration_computes_totals_of_existing_counts(empty_database, migrate_until):
    migrate_until("0003")
    with psycopg.connect(empty_database) as connection:
        connection.execute(
            "INSERT INTO event_counts (minute, source, type, stored, duplicate, contradictory, rejected)"
            " VALUES ('2025-11-25 11:59Z', 'aws', 'a', 1, 2, 3, 4), ('2025-11-25 12:00Z', 'aws', 'b', 10, 20, 30, 40),"
            " ('2025-11-26 11:59Z', 'gcp', 'a', 100, 0, 0, 0), ('2025-11-26 11:59Z', 'unknown', '', 0, 0, 0, 5)"
        )
    migrate(empty_database)
    with open_pool(empty_database, connections=1, timeout_seconds=10) as pool:
        totals = PostgresReader(pool).totals(NOON)

    assert (totals.stored, totals.duplicate, totals.contradictory, totals.rejected) == (111, 22, 33, 49)
    assert totals.last_24h == 110
    assert totals.events_by_source == {"aws": 11, "gcp": 100}


def test_flow_instances_survive_the_migration_from_objects(empty_database, migrate_until):
    """This includes their evidence, with overflow, and their sums by minute."""
    migrate_until("0008")
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
    assert migrate(empty_database) == [name for name, _ in migrations.migrations() if name >= "0008"]
    with open_pool(empty_database, connections=1, timeout_seconds=10) as pool:
        reader = PostgresReader(pool)
        ingest([order, payment], dedupe=NullDedupeCache(), store=PostgresStore(pool), reconciler=Reconciler([ORDER]))
        record = reader.flow(("order", "ORD-1"))
        counts = reader.flow_counts(
            None, since=NOON - timedelta(minutes=12), until=NOON + timedelta(minutes=14), bucket=timedelta(hours=1)
        )

    assert record is not None
    deliveries = Counter({each.leg: 0 for each in record.evidence_set.items})
    for each in record.evidence_set.items:
        deliveries[each.leg] += each.deliveries
    assert deliveries == {"order": 3, "payment": 1}
    assert record.evidence_set.items[0].fields == item["fields"]
    assert (record.evidence_set.overflow, record.issues) == ({"order": 3}, ["duplicate"])
    assert sum(each.instances for each in counts if each.what == "status") == 26
    assert sum(each.amount for each in counts) == Decimal("65.0")


def test_a_deferred_flow_instance_survives_the_migration(empty_database, migrate_until):
    """Its verdict and its amount stay the same."""
    migrate_until("0013")
    row = """
    INSERT INTO flows
        (flow, key, status, amount, currency, opened_at, deadline, waiting, clouds, issues, version, ledger)
    VALUES
        ('order', 'ORD-1', 'open', 12.50, 'EUR', %(noon)s, %(noon)s, true, 2, '{duplicate}', 3, %(ledger)s)
    """
    with psycopg.connect(empty_database) as connection:
        connection.execute(row, {"noon": NOON, "ledger": '[[],{},"2025-11-26T13:00:00Z"]'})
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


def pubsub() -> Delivery:
    push = envelopes.pubsub_push(envelopes.pubsub_message("m-1"))
    return Delivery(channel="pubsub", body=json.dumps(push).encode(), received_at=NOON)


OLD_EVENT = """
INSERT INTO events (source, id, type, time, received_at, origin, data, order_id, amount, digest)
VALUES
    (%(source)s, %(id)s, %(type)s, %(time)s, %(received_at)s, %(origin)s, %(data)s, %(order_id)s, %(amount)s,
     %(digest)s)
"""


def old_row(event, origin):
    """A row of ``events`` before the identity had a producer."""
    names = ("source", "id", "type", "time", "received_at", "order_id", "amount", "digest")
    return {name: getattr(event, name) for name in names} | {"data": bytes(event.data).decode(), "origin": origin}


@pytest.mark.parametrize("arrives", ["before", "during"])
def test_stored_events_survive_the_migration_to_partitions(empty_database, migrate_until, arrives):
    """They keep their identity, and whatever refers to them still does, if a function of the previous version stored
    them before the migration or between two of its files.
    """
    migrate_until("0015" if arrives == "before" else "0016")
    delivered = [eventbridge("1"), pubsub()]
    events = [normalise(delivery) for delivery in delivered]
    keys = msgspec.json.encode([{"source": event.source, "id": event.id} for event in events]).decode()
    with psycopg.connect(empty_database) as connection:
        for event, origin in zip(events, [events[0].producer, "projects/shop/subscriptions/helios"], strict=True):
            connection.execute(OLD_EVENT, old_row(event, origin))
        connection.execute("INSERT INTO frames (body, keys) VALUES ('{}', %s)", [keys])
        connection.execute("INSERT INTO consumers (name, position) VALUES ('kafka', 0)")
        connection.execute(
            "INSERT INTO parked (consumer, source, id, reason) VALUES ('kafka', 'gcp', 'm-1', 'no topic')"
        )

    migrate(empty_database)

    with open_pool(empty_database, connections=2, timeout_seconds=10) as pool:
        store, reader, outbox = PostgresStore(pool), PostgresReader(pool), PostgresOutbox(pool)
        stored = [msgspec.json.encode(reader.event(event.key)) for event in events]
        assert stored == [msgspec.json.encode(event) for event in events]
        later = [*delivered, eventbridge("2"), eventbridge("1", type_="OrderCancelled")]
        outcomes = ingest(later, dedupe=NullDedupeCache(), store=store)
        assert [outcome.status for outcome in outcomes] == ["duplicate", "duplicate", "stored", "contradictory"]
        outbox.number()
        with outbox.offset("kafka") as offset:
            assert [event.key for event in offset.parked(after=None, limit=10)] == [events[1].key]
        sent = [event.key for frame in outbox.events(after=0, limit=10) for event in frame.events]
        assert sorted(sent) == sorted([*(event.key for event in events), (*events[0].key[:2], "2")])


def test_an_event_without_a_partition_is_sent_again(pool, postgres_store):
    """Only a sweep that has not run for weeks leaves none: the fault is not the event's."""
    far = datetime.now(UTC) + timedelta(days=999)
    delivery = msgspec.structs.replace(eventbridge("1"), received_at=far)

    with pytest.raises(Retryable, match="no partition"):
        ingest([delivery], dedupe=NullDedupeCache(), store=postgres_store)


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


def test_the_order_of_events_does_not_depend_on_the_language_of_the_database(pool, monkeypatch):
    """The archive and Python order text by code points: a page of both tiers must not skip or repeat an event."""
    queries: list[tuple[str, Any]] = []
    run = Query._all

    def recorded(self, query, parameters):
        queries.append((query, parameters))
        return run(self, query, parameters)

    monkeypatch.setattr(Query, "_all", recorded)
    reader = PostgresReader(pool)
    ingest([eventbridge(str(number)) for number in range(3)], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    page = reader.events(EventFilter(), after=None, limit=1)
    reader.events(EventFilter(), after=page.next_cursor, limit=1)
    PostgresReplayJobs(pool).events(ReplayFilter(), after=Checkpoint(received_at=NOON, source="aws", id="1"), limit=1)

    assert len(queries) == 3
    for query, parameters in queries:
        assert query.count('COLLATE "C"') == (6 if len(parameters) > 1 else 3), query
        with pool.connection() as connection:
            connection.execute("SET LOCAL enable_indexscan = off")
            ((plans,),) = connection.execute(f"EXPLAIN (FORMAT JSON) {query}", parameters).fetchall()
        (keys,) = re.findall(r"'Sort Key': \[(.+?)\]", str(plans))
        assert keys.count('COLLATE "C"') == 3, keys


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
        # The pool checks a connection that was idle with an empty statement, and sets up a new one.
        if query and query != SET_PARAMETERS:
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


def test_the_sums_at_a_position_exclude_unnumbered_frames(pool):
    reader, outbox = PostgresReader(pool), PostgresOutbox(pool)
    day = timedelta(days=1)
    sums_of_period = partial(reader.flow_sums, None, since=NOON - day, until=NOON + day, bucket=2 * day)
    counts_of_period = partial(reader.flow_counts, None, since=NOON - day, until=NOON + day, bucket=2 * day)

    def ingest_legs(*names: str) -> None:
        legs = [leg(name) for name in names]
        ingest(legs, dedupe=NullDedupeCache(), store=PostgresStore(pool), reconciler=Reconciler([ORDER]))

    def by_status(counts) -> Counter[str]:
        return +Counter({count.value: count.instances for count in counts if count.what == "status"})

    ingest_legs("order")
    assert by_status(counts_of_period()) == {"open": 1}
    assert by_status(sums_of_period().counts) == {}
    outbox.number()
    ingest_legs("payment")
    ingest_legs("inventory")
    sums = sums_of_period()
    assert (sums.position, by_status(sums.counts)) == (1, {"open": 1})
    assert by_status(counts_of_period()) == {"matched": 1}
    outbox.number()
    assert sums_of_period().position == 3
    assert by_status(sums_of_period().counts) == {"matched": 1}


def test_frames_are_numbered_in_parts(pool, monkeypatch):
    monkeypatch.setattr(stream, "NUMBERED_AT_ONCE", 2)
    for number in range(5):
        ingest([eventbridge(str(number))], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    PostgresOutbox(pool).number()

    totals = PostgresReader(pool).totals(NOON, only_numbered=True)
    assert (totals.position, totals.stored) == (5, 5)


A_FRAME = """
INSERT INTO frames (body, keys, counts, flow_counts) VALUES (to_json(repeat('x', 900)), '[]', '[]', '[]')
"""


def test_numbering_frames_does_not_read_those_that_were_numbered_before(empty_database):
    """Nor before a vacuum, which comes once a minute at best. No other process reads in this database."""
    migrate(empty_database)
    with open_pool(empty_database, connections=2, timeout_seconds=30) as pool, pool.connection() as connection:
        for _ in range(60):
            for _ in range(100):
                connection.execute(A_FRAME)
            PostgresOutbox(pool).number()
        connection.execute(A_FRAME)
        explained = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {stream.NUMBER_FRAMES}"
        ((plans,),) = connection.execute(explained, [stream.NUMBERED_AT_ONCE])
    assert plans[0]["Plan"]["Shared Hit Blocks"] < 200  # and not one for every few frames


def test_a_reader_numbers_only_some_frames(pool, monkeypatch):
    monkeypatch.setattr(stream, "NUMBERED_BY_A_READER", 2)
    for number in range(5):
        ingest([eventbridge(str(number))], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    PostgresOutbox(pool).catch_up()

    totals = PostgresReader(pool).totals(NOON, only_numbered=True)
    assert (totals.position, totals.stored) == (2, 2)


def test_a_reader_does_not_wait_for_a_process_that_is_stuck_while_it_numbers(pool, database_url):
    ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    PostgresOutbox(pool).catch_up()
    ingest([eventbridge("2")], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    with psycopg.connect(database_url) as stuck:
        stuck.execute(stream.TAKE_TURN, [stream.LOCK])
        PostgresOutbox(pool).catch_up()
        totals = PostgresReader(pool).totals(NOON, only_numbered=True)
        assert (totals.position, totals.stored) == (1, 1)

    PostgresOutbox(pool).catch_up()
    assert PostgresReader(pool).totals(NOON, only_numbered=True).position == 2


def test_concurrent_batches_wait_for_no_row_of_each_other(pool):
    """Only the process that gives frames their positions writes the sums."""
    with PostgresStore(pool).transaction() as unfinished:
        events = [normalise(eventbridge("1"))]
        unfinished.events.insert(events)
        counts = tally([eventbridge("1")], [Outcome(status="stored", event=events[0])])
        unfinished.stream.publish(Frame(counts=counts, events=[]), events)
        unfinished.sync()
        ingest([eventbridge("2")], dedupe=NullDedupeCache(), store=PostgresStore(pool), reconciler=Reconciler([ORDER]))
        PostgresOutbox(pool).number()
        assert PostgresReader(pool).totals(NOON, only_numbered=True).stored == 1

    assert PostgresReader(pool).totals(NOON).stored == 2


@pytest.mark.parametrize("tables", ["events, event_counts", "event_counts, event_totals"])
def test_truncated_counts_have_empty_totals(pool, tables):
    ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    PostgresOutbox(pool).number()
    with pool.connection() as connection:
        connection.execute(f"TRUNCATE {tables}")

    assert PostgresReader(pool).totals(NOON).stored == 0


def test_an_outage_of_the_database_is_retryable_and_ends_with_it(postgres_server, pool):
    pool.timeout = 2  # each refusal takes as long
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
    statuses: list[str] = []

    def is_over() -> bool:
        """A pooler connects to the server again after its own pause, and refuses until then."""
        with suppress(Retryable):
            outcomes = ingest([eventbridge("1"), eventbridge("2")], dedupe=NullDedupeCache(), store=store)
            statuses.extend(outcome.status for outcome in outcomes)
        return bool(statuses)

    eventually(is_over)
    assert statuses == ["duplicate", "stored"]


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="TCP_USER_TIMEOUT is Linux' own")
def test_connections_have_a_tcp_timeout_and_keepalives(database_url):
    """The test checks the socket options, because no gateway on one machine drops a connection."""
    with open_pool(database_url, connections=1, timeout_seconds=7) as pool, pool.connection() as connection:
        connection_socket = socket.socket(fileno=os.dup(connection.pgconn.socket))
        with connection_socket:
            assert connection_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
            assert connection_socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert connection_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_the_connection_that_was_returned_last_is_used_next(database_url):
    """Its process of Postgres has warm caches. If connections took turns, a batch of one would cost a third more."""
    with open_pool(database_url, connections=2, timeout_seconds=10) as pool:
        with pool.connection() as last, pool.connection():
            pass
        used = []
        for _ in range(3):
            with pool.connection() as connection:
                used.append(connection)

    assert used == [last] * 3


def test_too_many_connections_are_retryable(postgres_server, direct_url, pool):
    """53300, too_many_connections, is an error of the environment and not of the event."""
    with psycopg.connect(postgres_server.admin_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0 PASSWORD 'crowded'")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO crowded")
        url = psycopg.conninfo.make_conninfo(direct_url, user="crowded", password="crowded")
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


def test_a_slow_statement_is_retryable(direct_url):
    """The batch waits for a lock longer than the limit. Nothing is stored, and the cloud redelivers it."""
    impatient = open_pool(direct_url, connections=1, timeout_seconds=1)
    with psycopg.connect(direct_url) as blocker:
        blocker.execute("LOCK TABLE events")
        with pytest.raises(Retryable, match="timeout"):
            ingest([eventbridge("slow")], dedupe=NullDedupeCache(), store=PostgresStore(impatient))
    impatient.close()


def test_an_error_keeps_its_type_when_a_transaction_rolls_back(pool):
    store = PostgresStore(pool)
    with pytest.raises(Rejected, match="first"), store.transaction():
        raise Rejected("first", field="body")
