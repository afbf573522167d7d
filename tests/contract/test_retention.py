"""Retention in Postgres: rows in batches, sums that become fewer, and whole partitions of events."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from msgspec.structs import replace

from helios import bootstrap
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres import archive, comparisons
from helios.adapters.postgres import retention as tables
from helios.adapters.postgres.erasure import PostgresErasure
from helios.adapters.postgres.partitions import attach, extend, partitions
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.retention import PostgresRetention
from helios.adapters.postgres.stream import PostgresOutbox
from helios.errors import Rejected, Retryable
from helios.model.dead_letters import BEYOND_HORIZON, DeadLetterFilter
from helios.model.erasure import Selector
from helios.model.events import EventFilter
from helios.model.retention import parse
from helios.normalise import normalise
from helios.services import retention as services
from helios.services.dead_letters import replay_dead_letter
from helios.services.ingest import ingest
from helios.services.retention import RetentionJob
from tests.support.archive import DAYS, FIRST, fill, midnight, order
from tests.support.archive import NOW as ARCHIVE_NOW
from tests.support.deliveries import NOON, aws_key, eventbridge, poison
from tests.support.waiting import eventually

HORIZON = timedelta(days=30)
NOW = datetime.now(UTC)


@pytest.fixture
def store(pool, database_url):
    return PostgresRetention(pool, database_url)


@pytest.fixture
def past(pool):
    """Partitions of a day for the last three weeks, in place of the one for all of the past; all removed at the end."""
    begin = NOW.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=21)
    with pool.connection() as connection:
        before = partitions(connection)
        connection.execute("ALTER TABLE events DETACH PARTITION events_until")
        for day in range(21):
            since = begin + timedelta(days=day)
            connection.execute(f"CREATE TABLE events_p{day} (LIKE events INCLUDING DEFAULTS INCLUDING INDEXES)")
            connection.execute(
                f"ALTER TABLE events ATTACH PARTITION events_p{day} FOR VALUES FROM ('{since}') TO"
                f" ('{since + timedelta(days=1)}')"
            )
        connection.execute("CREATE TABLE events_today (LIKE events INCLUDING DEFAULTS INCLUDING INDEXES)")
        connection.execute(
            f"ALTER TABLE events ATTACH PARTITION events_today FOR VALUES FROM ('{begin + timedelta(days=21)}') TO"
            f" ('{before[0].until}')"
        )
    yield begin
    with pool.connection() as connection:
        for (name,) in connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^events_(p[0-9]+|today)$'"
        ).fetchall():
            connection.execute(f"DROP TABLE {name}")
        connection.execute("DELETE FROM detached_partitions")
        connection.execute("TRUNCATE events_until")
        connection.execute(
            f"ALTER TABLE events ATTACH PARTITION events_until FOR VALUES FROM (MINVALUE) TO ('{before[0].until}')"
        )


def at(delivery, moment):
    return replace(delivery, received_at=moment)


def statuses(outcomes):
    return [outcome.status for outcome in outcomes]


def test_every_table_that_grows_is_in_one_list(pool):
    """A new table belongs to one of the lists, so that nobody forgets what makes it smaller."""
    with pool.connection() as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition"
        ).fetchall()

    lists = [set(tables.ROWS), set(tables.SUMS), set(tables.OTHERWISE), tables.BOUNDED]
    assert {name for (name,) in rows} == set().union(*lists)
    assert sum(map(len, lists)) == len(set().union(*lists))


def test_an_event_whose_payload_was_dropped_is_still_a_duplicate(past, pool, store, postgres_store):
    old, new = at(eventbridge("old"), past + timedelta(hours=1)), at(eventbridge("new"), NOW)
    ingest([old, new], dedupe=NullDedupeCache(), store=postgres_store)
    job = RetentionJob(parse("unarchived_events=14 ids=400"), store)

    assert job.drop_expired(NOW) == [f"events_p{day}" for day in range(7)]

    reader = PostgresReader(pool)
    assert reader.event(aws_key("old")) is None
    assert reader.event(aws_key("new")) is not None
    again = [at(eventbridge("old"), NOW), at(eventbridge("old", type_="Other"), NOW)]
    assert statuses(ingest(again, dedupe=NullDedupeCache(), store=postgres_store)) == ["duplicate", "contradictory"]
    assert job.drop_expired(NOW) == []


def test_a_partition_that_the_archive_lacks_is_not_dropped(past, store, postgres_store, pool):
    ingest([at(eventbridge("1"), past + timedelta(hours=1))], dedupe=NullDedupeCache(), store=postgres_store)

    with pytest.raises(Rejected, match="the archive and Postgres differ: aws"):
        store.compare_partition("events_p0")
    with pytest.raises(Rejected, match="after the comparison"):
        store.drop_partition("events_p0", archived=True)
    assert RetentionJob(parse("events=14"), store).drop_expired(NOW) == [f"events_p{day}" for day in range(1, 7)]
    assert PostgresReader(pool).event(aws_key("1")) is not None


@pytest.mark.parametrize("step", ["listed", "detaching", "detached"])
def test_an_interrupted_drop_is_completed(past, store, pool, direct_url, step):
    with pool.connection() as connection:
        connection.execute(tables.ADD_DETACHED, ["events_p0"])
    if step == "detached":
        with pool.connection() as connection:
            connection.execute("ALTER TABLE events DETACH PARTITION events_p0")
    if step == "detaching":
        impatient = ImpatientRetention(pool, direct_url)
        with pool.connection() as reading, reading.transaction():  # DETACH CONCURRENTLY waits for its end
            reading.execute("SELECT count(*) FROM events")
            with pytest.raises(Retryable):
                impatient.drop_partition("events_p0", archived=False)

    store.drop_partition("events_p0", archived=False)

    with pool.connection() as connection:
        assert connection.execute("SELECT to_regclass('events_p0')").fetchone() == (None,)
        assert connection.execute("SELECT count(*) FROM detached_partitions").fetchone() == (0,)


class ImpatientRetention(PostgresRetention):
    """Retention whose statements end after a second."""

    def _connect(self):
        connection = super()._connect()
        connection.execute("SET statement_timeout = '1s'")
        return connection


def test_events_are_stored_while_a_partition_is_dropped(past, store, postgres_store):
    """DETACH CONCURRENTLY waits for the writers, and no writer waits for it."""
    stop = threading.Event()
    stored: list[str] = []

    def send() -> None:
        while not stop.is_set():
            delivery = at(eventbridge(f"live-{len(stored)}"), datetime.now(UTC))
            stored.extend(statuses(ingest([delivery], dedupe=NullDedupeCache(), store=postgres_store)))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        dropped = RetentionJob(parse("unarchived_events=7"), store).drop_expired(NOW)
    finally:
        stop.set()
        sender.join()

    assert len(dropped) == 14
    assert set(stored) == {"stored"}


def test_rows_are_removed_only_by_their_limit(pool, store, postgres_store):
    ingest([eventbridge("1"), poison()], dedupe=NullDedupeCache(), store=postgres_store)  # received in 2025
    tables_of = {"ids": "event_ids", "dead_letters": "dead_letters"}

    assert RetentionJob(parse("flows=1 audit=1"), store).remove_expired(NOW) == 0
    assert RetentionJob(parse("dead_letters=30"), store).remove_expired(NOW) == 1
    assert RetentionJob(parse("unarchived_events=7 ids=30"), store).remove_expired(NOW) == 1
    with pool.connection() as connection:
        for table in tables_of.values():
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_a_run_removes_rows_as_long_as_its_time_lasts(pool, store, monkeypatch):
    """There is no maximum of batches: what is removed in a minute may not be less than what is stored in one."""
    monkeypatch.setattr(services, "BATCH", 10)
    job = RetentionJob(parse("unarchived_events=7 ids=30 flows=30 dead_letters=30"), store)
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO event_ids (key, digest, received_at) SELECT gen_random_uuid(), '', %s"
            " FROM generate_series(1, 1000)",
            [NOON],
        )

    assert job.remove_expired(NOW, seconds=0) == 10  # a turn is the least: every topic gets one in each run
    assert job.remove_expired(NOW) == 990


def test_old_counts_become_sums_of_hours_and_days(pool, store, postgres_store):
    moments = [NOON, NOON + timedelta(minutes=1), NOON + timedelta(minutes=61), NOON + timedelta(days=1)]
    for number, moment in enumerate(moments):
        ingest([eventbridge(str(number), received_at=moment)], dedupe=NullDedupeCache(), store=postgres_store)
    PostgresOutbox(pool).number()
    reader = PostgresReader(pool)
    job = RetentionJob(parse("counts=10"), store)

    job.remove_expired(NOON + timedelta(days=10, hours=20))
    hours = [(count.minute, count.stored) for count in reader.minutes(NOON - timedelta(days=1))]
    assert hours == [(NOON, 2), (NOON + timedelta(hours=1), 1), (NOON + timedelta(days=1), 1)]

    job.remove_expired(NOON + timedelta(days=123))
    midnight = NOON.replace(hour=0)
    days = [(count.minute, count.stored) for count in reader.minutes(NOON - timedelta(days=1))]
    assert days == [(midnight, 3), (midnight + timedelta(days=1), 1)]
    assert reader.totals(NOW).stored == 4


def test_an_event_beyond_the_identity_horizon_is_a_dead_letter_that_can_be_accepted(store, postgres_store, pool):
    """Neither stored twice nor lost."""
    first = at(eventbridge("1"), NOON)
    ingest([first], dedupe=NullDedupeCache(), store=postgres_store)
    later = NOON + HORIZON + timedelta(days=2)
    horizon = {"dedupe": NullDedupeCache(), "store": postgres_store, "horizon": HORIZON}

    assert statuses(ingest([at(first, later)], **horizon)) == ["duplicate"]
    RetentionJob(parse("unarchived_events=7 ids=30"), store).remove_expired(later)
    assert statuses(ingest([at(first, later), at(eventbridge("2"), later)], **horizon)) == ["rejected", "rejected"]

    reader = PostgresReader(pool)
    dead_letters = reader.dead_letters(DeadLetterFilter(), after=None, limit=10).items
    reasons = {(stored.dead_letter.field, stored.dead_letter.reason) for stored in dead_letters}
    assert reasons == {("time", BEYOND_HORIZON)}

    def accepting(deliveries, *, also_write=None, accept=False):
        return ingest(deliveries, also_write=also_write, **(horizon | ({"horizon": None} if accept else {})))

    for accept, status in ((False, "rejected"), (True, "stored")):
        (outcome,) = replay_dead_letter(dead_letters[0], None, ingest=accepting, actor="ann", now=later, accept=accept)
        assert outcome.status == status
    assert reader.event(normalise(eventbridge("2")).key) is not None


def test_an_event_far_in_the_future_is_beyond_the_horizon_too(postgres_store):
    """Its identity would be removed before its own time is old."""
    early = at(eventbridge("1"), NOON - timedelta(days=2))

    outcomes = ingest([early], dedupe=NullDedupeCache(), store=postgres_store, horizon=HORIZON)
    assert statuses(outcomes) == ["rejected"]
    assert statuses(ingest([early], dedupe=NullDedupeCache(), store=postgres_store)) == ["stored"]


def test_the_sweep_adds_partitions_again_after_all_old_ones_are_dropped(past, pool, store):
    for name in store.expired_partitions(NOW):
        store.drop_partition(name, archived=False)

    assert extend(pool, NOW + timedelta(days=30), days=7) > 0


def test_archived_partitions_are_dropped_and_restored_ones_stay(archived):
    fill(archived)
    job = RetentionJob(parse("events=7"), PostgresRetention(archived.pool, archived.url))
    before = len(archived.rows())
    assert len(job.drop_expired(ARCHIVE_NOW)) == DAYS - 3  # the empty ones: nothing of the others is archived

    archived.archive.run(ARCHIVE_NOW)
    assert len(job.drop_expired(ARCHIVE_NOW)) == 3
    assert archived.rows() == []

    archived.archive.restore(FIRST, FIRST)
    assert job.drop_expired(ARCHIVE_NOW) == []
    assert len(archived.rows()) == before // 3


@pytest.fixture
def compared(archived):
    """The store of a database whose first partition has agreed with the archive; and the name of that partition."""
    fill(archived)
    archived.archive.run(ARCHIVE_NOW)
    store, name = PostgresRetention(archived.pool, archived.url), f"events_{FIRST:%Y%m%d}"
    store.compare_partition(name)
    return store, name


def test_a_comparison_that_holds_is_not_repeated(compared, monkeypatch):
    store, name = compared
    monkeypatch.setattr(comparisons, "compare", unexpected)

    store.compare_partition(name)


def unexpected(*_):
    raise AssertionError("the partition was compared again")


def late_event(archived):
    archived.ingest(order(5000))


def erasure(archived, settings=None):
    with bootstrap.eraser(settings or archived.settings) as eraser:
        return eraser.erase(Selector("customer_id", "CUST-1"), actor="ann", secret="s" * 32, clock=lambda: ARCHIVE_NOW)


@pytest.fixture
def interrupt_drop(archived, compared, direct_url):
    """Leave the partition detached and not dropped; or with a detachment that is not complete."""
    store, name = compared
    impatient = ImpatientRetention(archived.pool, f"{direct_url.rpartition('/')[0]}/{archived.url.rpartition('/')[2]}")

    def interrupt(*, is_detached: bool) -> None:
        if is_detached:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(comparisons, "forget", interrupted)
                with pytest.raises(RuntimeError):
                    store.drop_partition(name, archived=True)
            return
        with archived.pool.connection() as reading, reading.transaction():  # DETACH CONCURRENTLY waits for its end
            reading.execute("SELECT count(*) FROM events")
            with pytest.raises(Retryable):
                impatient.drop_partition(name, archived=True)

    return interrupt


def interrupted(*_):
    raise RuntimeError


@pytest.mark.parametrize("is_detached", [True, False])
def test_an_erasure_finds_the_events_of_a_partition_whose_drop_was_interrupted(
    archived, compared, interrupt_drop, is_detached
):
    """Otherwise they come back with the partition, which no longer agrees with its files, and are archived again."""
    store, name = compared
    interrupt_drop(is_detached=is_detached)

    receipt = erasure(archived)

    assert (receipt.left, receipt.removed["events"]) == ({}, 18)
    archived.archive.run(ARCHIVE_NOW)
    assert name in RetentionJob(parse("events=7"), store).drop_expired(ARCHIVE_NOW)
    events = archived.opened.reader.events(EventFilter(), after=None, limit=500).items
    assert len(events) == 120 - 18
    assert "CUST-1" not in {event.customer_id for event in events}


@pytest.mark.parametrize("is_detached", [True, False])
def test_an_erasure_without_an_archive_finds_them_too(archived, interrupt_drop, is_detached):
    interrupt_drop(is_detached=is_detached)
    with archived.pool.connection() as connection:
        connection.execute("DELETE FROM archive_files")

    receipt = erasure(archived, replace(archived.settings, archive_url=None))

    assert (receipt.left, receipt.removed["events"]) == ({}, 18)


def test_a_scan_finds_a_value_in_a_partition_whose_detachment_was_interrupted(archived, compared, interrupt_drop):
    _, name = compared
    interrupt_drop(is_detached=False)

    assert PostgresErasure(archived.url).scan(Selector("customer_id", "CUST-1"))[name] == 6


def test_no_partition_is_dropped_while_another_process_changes_the_archive(archived, compared):
    store, name = compared
    job = RetentionJob(parse("events=7"), store)

    with archived.archive.own_turn():
        assert job.drop_expired(ARCHIVE_NOW) == []

    assert name in job.drop_expired(ARCHIVE_NOW)


def change_of_the_payload(archived):
    with archived.pool.connection() as connection:
        connection.execute("UPDATE events SET data = '{}' WHERE id = 'aws-1'")


def lost_file(archived):
    with archived.pool.connection() as connection:
        connection.execute("DELETE FROM archive_files WHERE day = %s AND source = 'aws'", [FIRST])


def restore_from_a_dump(archived):
    """The rows of all tables come back, and the tables have other oids."""
    with archived.pool.connection() as connection:
        connection.execute(f"CREATE TABLE copy (LIKE events_{FIRST:%Y%m%d} INCLUDING ALL)")
        connection.execute(f"ALTER TABLE events DETACH PARTITION events_{FIRST:%Y%m%d}")
        connection.execute(f"DROP TABLE events_{FIRST:%Y%m%d}")
        connection.execute(f"ALTER TABLE copy RENAME TO events_{FIRST:%Y%m%d}")
        attach(connection, f"events_{FIRST:%Y%m%d}", midnight(FIRST), midnight(FIRST + timedelta(days=1)))


@pytest.mark.parametrize("change", [late_event, erasure, change_of_the_payload, lost_file, restore_from_a_dump])
def test_a_comparison_holds_until_the_partition_or_its_files_change(archived, compared, change):
    store, name = compared
    change(archived)
    before = archived.rows()

    with pytest.raises(Rejected, match="after the comparison"):
        store.drop_partition(name, archived=True)

    assert archived.rows() == before


def test_a_late_event_is_archived_before_its_partition_is_dropped(archived, compared):
    store, name = compared
    archived.ingest(order(5000))
    with pytest.raises(Rejected, match="the archive and Postgres differ: aws"):
        store.compare_partition(name)

    assert archived.archive.run(ARCHIVE_NOW).rows == 1  # the comparison has asked for it
    store.compare_partition(name)
    store.drop_partition(name, archived=True)

    order_events = archived.opened.reader.events(EventFilter(order_id="ORD-5000"), after=None, limit=10).items
    assert [(event.id, event.archived) for event in order_events] == [("aws-5000", True)]


def test_days_that_can_not_agree_are_archived_again_once_a_day_at_most(archived, compared):
    """Postgres lacks an event of the archive, as after a restore from an older backup: no run can change that."""
    store, name = compared
    with archived.pool.connection() as connection:
        connection.execute("DELETE FROM events WHERE id = 'aws-1'")

    def failed_comparison():
        with pytest.raises(Rejected, match="differ: aws"):
            store.compare_partition(name)

    failed_comparison()
    assert archived.archive.run(NOW).days == 1
    failed_comparison()
    assert archived.archive.run(NOW).days == 0


def test_a_change_during_the_comparison_voids_it(archived, compared, monkeypatch):
    """Stored after the comparison has read the partition, and before its record commits."""
    store, name = compared
    archived.ingest(order(5000))
    archived.archive.run(ARCHIVE_NOW, recheck=True)

    def compare_and_store(connection, table):
        comparison = archive.compare_with_archive(connection, table)
        archived.ingest(order(5001))
        return comparison

    monkeypatch.setattr(comparisons, "compare_with_archive", compare_and_store)
    store.compare_partition(name)

    with pytest.raises(Rejected, match="after the comparison"):
        store.drop_partition(name, archived=True)


def test_a_partition_that_receives_an_event_while_it_is_detached_is_attached_again(archived, compared):
    """The writer began before the drop, and commits after the drop has checked the comparison."""
    store, name = compared
    before = archived.rows()
    with ThreadPoolExecutor(1) as thread, psycopg.connect(archived.url) as writing:
        writing.execute(COPY_OF_AN_EVENT)
        dropping = thread.submit(store.drop_partition, name, archived=True)
        eventually(lambda: is_being_detached(archived, name))
        assert readable(archived) == len(before)  # those of this partition now come from the archive
        writing.commit()
        with pytest.raises(Rejected, match="after the comparison"):
            dropping.result()

    assert len(archived.rows()) == len(before) + 1


def readable(archived):
    return len(archived.opened.reader.events(EventFilter(), after=None, limit=500).items)


COPY_OF_AN_EVENT = """
INSERT INTO events (source, producer, id, type, time, received_at, data, digest)
SELECT source, producer, 'late', type, time, received_at, data, digest FROM events WHERE id = 'aws-1'
"""


def is_being_detached(archived, name):
    with archived.pool.connection() as connection:
        query = "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass(%s)"
        return connection.execute(query, [name]).fetchone() == (True,)


def test_a_table_that_an_earlier_version_has_detached_is_compared_and_dropped(archived, compared):
    """It detached and compared in one step, and left no record."""
    store, name = compared
    with archived.pool.connection() as connection:
        connection.execute(tables.ADD_DETACHED, [name])
        connection.execute(f"ALTER TABLE events DETACH PARTITION {name}")
        connection.execute("DELETE FROM partition_comparisons")

    store.compare_partition(name)
    store.drop_partition(name, archived=True)

    with archived.pool.connection() as connection:
        assert connection.execute("SELECT to_regclass(%s)", [name]).fetchone() == (None,)


def test_a_writer_does_not_wait_behind_a_comparison(archived, compared):
    """The trigger's lock is asked for once; a partition that is in use is compared by the next run."""
    store, _ = compared
    second = f"events_{FIRST + timedelta(days=1):%Y%m%d}"
    with psycopg.connect(archived.url) as writing:
        writing.execute(f"LOCK TABLE {second} IN ROW EXCLUSIVE MODE")
        with pytest.raises(Rejected, match="the next run compares it"):
            store.compare_partition(second)

    store.compare_partition(second)
    with archived.pool.connection() as connection:
        (watched,) = connection.execute("SELECT count(*) FROM pg_trigger WHERE tgname = 'note_change'").fetchone()
    assert watched == 2
