"""A reader finds the same events in the same order, wherever they are, and sees which ones are archived."""

import threading
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from helios.adapters.archive.reader import ArchiveReader
from helios.adapters.archive.tiered import OpenedOnFirstRead, read_consistently
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.balances import PostgresBalances
from helios.adapters.postgres.incidents import PostgresIncidents
from helios.adapters.postgres.partitions import attach
from helios.adapters.postgres.recoveries import PostgresRecoveries
from helios.adapters.postgres.resolutions import PostgresResolutions
from helios.adapters.postgres.stream import PostgresOutbox
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.errors import ConfigurationError, Retryable
from helios.model.access import EventLimits
from helios.model.archive import FileFilter
from helios.model.events import Delivery, Event, EventFilter
from helios.model.replay import Checkpoint, ReplayFilter
from helios.reconciliation import declaration
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.views import Sources, View
from helios.sources.declaration import load as load_sources
from tests.support.archive import FIRST, NOW, change_at_first_listing, days, fill, midnight, order, shipment

FILTERS = {
    "all": EventFilter(),
    "source": EventFilter(source="azure"),
    "type": EventFilter(type="OrderPlaced"),
    "order_id": EventFilter(order_id="ORD-2003"),
    "since": EventFilter(since=midnight(days(3)[1]) + timedelta(hours=1, microseconds=1005)),
    "until": EventFilter(until=midnight(days(3)[1]) + timedelta(hours=1, microseconds=1005)),
    "both": EventFilter(since=midnight(days(3)[1]), until=midnight(days(3)[2]), source="aws"),
    "an attribute": EventFilter(attributes={"resources": "arn:shop/~1"}),
    "an attribute of no event": EventFilter(attributes={"a/b~c": "x"}),
    "nothing": EventFilter(order_id="no order"),
    "some sources": EventFilter(limits=EventLimits(sources=("azure", "gcp"))),
    "no source": EventFilter(limits=EventLimits(sources=())),
    "some types": EventFilter(limits=EventLimits(types=("Order*", "100%_\\"))),
    "some legs": EventFilter(limits=EventLimits(legs=(("aws", "OrderPlaced"), ("azure", "OrderPlaced")))),
    "a leg of any source": EventFilter(limits=EventLimits(legs=((None, "OrderPlaced"),))),
}

DROPPED = {
    "the oldest day": days(1),
    "a day between two": days(2)[1:],
    "two days": days(2),
    "all days": days(4),
}


def without_mark(event: Event) -> Event:
    return msgspec.structs.replace(event, archived=msgspec.UNSET)


def pages(reader, where, limit) -> list[Event]:
    """All events, page by page; every page but the last is full."""
    events: list[Event] = []
    after = None
    while True:
        page = reader.events(where, after=after, limit=limit)
        events += page.items
        if page.next_cursor is None:
            return events
        assert len(page.items) == limit
        after = page.next_cursor


@pytest.fixture
def filled(archived):
    """Four days of events, all of them archived."""
    fill(archived, number=10, of_days=4)
    archived.archive.run(NOW)
    return archived


@pytest.mark.parametrize("dropped", DROPPED)
def test_pages_are_the_same_after_partitions_were_dropped(filled, dropped):
    reader = filled.opened.reader
    before = {name: pages(reader, where, 7) for name, where in FILTERS.items()}
    assert before["an attribute"]
    for day in DROPPED[dropped]:
        filled.drop(day)

    for name, where in FILTERS.items():
        for limit in (7, 10, 100):
            after = pages(reader, where, limit)
            assert [without_mark(event) for event in after] == before[name], (name, limit)
            archived_days = {event.received_at.date() for event in after if event.archived is True}
            assert archived_days == {event.received_at.date() for event in after} & set(DROPPED[dropped])


def test_every_field_of_a_filter_is_tested():
    tested = {field for where in FILTERS.values() for field in where.__struct_fields__ if getattr(where, field)}

    assert tested == set(EventFilter.__struct_fields__)


def test_an_event_is_found_by_its_identity(filled):
    reader = filled.opened.reader
    (before,) = reader.events(EventFilter(order_id="ORD-1003", source="aws"), after=None, limit=5).items
    filled.drop(days(2)[1])

    event = reader.event(before.key)

    assert event is not None
    assert event.archived is True
    assert without_mark(event) == before
    assert bytes(event.data) == bytes(before.data)
    assert reader.event(("aws", before.producer, "unknown")) is None


def test_many_events_are_found_wherever_they_are(filled):
    reader = filled.opened.reader
    before = reader.events(EventFilter(), after=None, limit=100).items
    filled.drop(days(2)[0])
    filled.drop(days(4)[3])

    found = reader.find([event.key for event in before])

    assert {event.key: without_mark(event) for event in found} == {event.key: event for event in before}


def test_an_event_in_postgres_is_not_marked(filled):
    event = filled.opened.reader.events(EventFilter(), after=None, limit=1).items[0]

    assert b"archived" not in msgspec.json.encode(event)


@pytest.mark.parametrize("dropped", DROPPED)
def test_a_replay_sends_archived_events_in_order(filled, dropped):
    jobs, where = filled.opened.jobs, ReplayFilter(source="aws")
    before, matching = replayed(jobs, where), jobs.matching("events", where)
    for day in DROPPED[dropped]:
        filled.drop(day)

    assert [without_mark(event) for event in replayed(jobs, where)] == before
    assert jobs.matching("events", where) == matching


def replayed(jobs, where) -> list[Event]:
    events: list[Event] = []
    after = None
    while batch := jobs.events(where, after=after, limit=7):
        events += batch
        last = batch[-1]
        after = Checkpoint(received_at=last.received_at, source=last.source, id=last.id, producer=last.producer)
    return events


def test_events_received_at_the_same_time_are_paged_completely(archived):
    archived.ingest(*(order(number, second=60.0) for number in range(5)))
    archived.ingest(*(shipment(number) for number in range(5)))
    with archived.pool.connection() as connection:
        connection.execute("UPDATE events SET received_at = %s", (midnight(FIRST) + timedelta(hours=5),))
        connection.execute("UPDATE event_ids SET received_at = %s", (midnight(FIRST) + timedelta(hours=5),))
    archived.archive.run(NOW)
    before = pages(archived.opened.reader, EventFilter(), 3)
    archived.drop(FIRST)

    assert [without_mark(event) for event in pages(archived.opened.reader, EventFilter(), 3)] == before


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("change", ["drop", "restore"])
def test_a_read_has_each_event_once_while_a_day_is_dropped_or_restored(filled, change, before):
    reader, jobs, last = filled.opened.reader, filled.opened.jobs, days(4)[3]
    keys = {event.key for event in reader.events(EventFilter(), after=None, limit=500).items}
    assert len(keys) == 80
    filled.drop(FIRST)  # or no read of identities needs the archive
    reads = {
        "pages": lambda: [event.key for event in reader.events(EventFilter(), after=None, limit=500).items],
        "identities": lambda: [event.key for event in reader.find(keys)],
        "a job": lambda: [event.key for event in jobs.events(ReplayFilter(), after=None, limit=500)],
        "a count": lambda: list(range(jobs.matching("events", ReplayFilter()).matching)),
    }
    for name, read in reads.items():
        if change == "restore":
            filled.drop(last)
        changes = {"drop": lambda: filled.drop(last), "restore": lambda: filled.archive.restore(last, last)}

        with change_at_first_listing(changes[change], before=before):
            found = read()

        assert (len(found), len(set(found))) == (80, 80), name
        if change == "drop":
            filled.archive.restore(last, last)
        restored = f"events_restored_{last:%Y%m%d}_{last + timedelta(days=1):%Y%m%d}"
        with filled.pool.connection() as connection:
            connection.execute(f"ALTER TABLE {restored} RENAME TO events_{last:%Y%m%d}")


def test_a_read_ends_while_partitions_change_all_the_time(filled):
    """The caller repeats it: an answer with events twice or without some would not be noticed."""
    name = f"events_{FIRST:%Y%m%d}"

    def attach_again():
        with filled.pool.connection() as connection:
            connection.execute(f"ALTER TABLE events DETACH PARTITION {name}")
            attach(connection, name, midnight(FIRST), midnight(days(2)[1]))

    with pytest.raises(Retryable, match="partitions of Postgres changed"):
        read_consistently(filled.archive.manifest, attach_again)


def test_a_restored_day_is_read_from_postgres_again(filled):
    reader = filled.opened.reader
    before = pages(reader, EventFilter(), 50)
    filled.drop(FIRST)
    filled.archive.restore(FIRST, FIRST)

    assert pages(reader, EventFilter(), 50) == before


def test_a_long_search_ends_the_page_and_continues_at_its_cursor(filled, monkeypatch):
    monkeypatch.setattr("helios.adapters.archive.tiered.SEARCH_SECONDS", 0)
    for day in days(4):
        filled.drop(day)
    reader, where = filled.opened.reader, EventFilter(type="OrderPlaced", until=datetime(2025, 11, 20, tzinfo=UTC))

    number, events = short_pages(reader, where, 1000)

    assert number > 1
    assert len(events) == len({event.key for event in events}) == 40


@pytest.mark.parametrize("restored", days(4))
@pytest.mark.parametrize("limit", [7, 20, 1000])
def test_a_long_search_lists_the_events_of_a_restored_day_in_their_place(filled, monkeypatch, limit, restored):
    before = pages(filled.opened.reader, EventFilter(), 1000)
    for day in days(4):
        filled.drop(day)
    filled.archive.restore(restored, restored)
    monkeypatch.setattr("helios.adapters.archive.tiered.SEARCH_SECONDS", 0)

    number, events = short_pages(filled.opened.reader, EventFilter(), limit)

    assert number > 1
    assert [without_mark(event) for event in events] == before


def short_pages(reader, where, limit) -> tuple[int, list[Event]]:
    """The number of pages, which may have fewer events than the limit, and their events."""
    events: list[Event] = []
    after, number = None, 0
    while True:
        page = reader.events(where, after=after, limit=limit)
        events, number = events + page.items, number + 1
        if (after := page.next_cursor) is None:
            return number, events


@pytest.fixture
def view(archived) -> View:
    """What a caller sees of one order, of which two events were received."""
    return view_of(archived, Reconciler(declaration.load(None)), order(1), shipment(1))


def view_of(archived, reconciler: Reconciler, *deliveries: Delivery) -> View:
    """What a caller sees after some deliveries."""
    store = PostgresStore(archived.pool)
    ingest(deliveries, dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
    return View(
        Sources(
            archived.opened.reader,
            archived.opened.reader,
            PostgresOutbox(archived.pool),
            archived.opened.jobs,
            reconciler.evaluators,
            PostgresResolutions(archived.pool),
            PostgresIncidents(archived.pool),
            PostgresBalances(archived.pool),
            PostgresRecoveries(archived.pool),
            registry=reconciler.sources,
        )
    )


def test_an_order_whose_instance_was_removed_follows_from_its_archived_events(archived, view):
    before = view.flow("order", "ORD-1")
    archived.archive.run(NOW)
    archived.drop(FIRST)
    with archived.pool.connection() as connection:
        connection.execute("DELETE FROM flow_instances")
        connection.execute("DELETE FROM event_ids")  # the identity horizon may be shorter than the archive

    after = view.flow("order", "ORD-1")

    assert before is not None
    assert after is not None
    assert before.rebuilt is msgspec.UNSET
    assert after.rebuilt is True
    assert [event.archived for event in after.events] == [True] * len(before.events)
    assert [without_mark(event) for event in after.events] == before.events
    assert after.status == "incomplete"
    assert [leg.fields for leg in after.legs] == [leg.fields for leg in before.legs]
    assert view.flow("order", "ORD-2") is None


FLOW = """
[[flow]]
name = "sale"
key = "{key}"
window_seconds = 86400
grace_seconds = 60

[[flow.leg]]
name = "order"
source = "aws"
type = "OrderPlaced"

[[flow.leg]]
name = "{name}"
source = "{source}"
type = "{type}"
"""


def test_an_order_follows_from_the_events_of_a_declared_source_too(archived, tmp_path):
    file = tmp_path / "sources.toml"
    file.write_text('[[source]]\nname = "stripe"\npreset = "stripe"\n')
    sources = load_sources(str(file))
    text = FLOW.format(key="order_id", name="payment", source="stripe", type="payment_intent.succeeded")
    data = {"object": {"amount": 1050, "currency": "usd", "metadata": {"order_id": "ORD-1"}}}
    event = {"id": "evt_1", "type": "payment_intent.succeeded", "created": 1761955200, "api_version": "1", "data": data}
    payment = Delivery(
        channel="webhook",
        body=msgspec.json.encode(event),
        received_at=midnight(FIRST) + timedelta(hours=1),
        declaration=sources.declared["stripe"],
    )
    reconciler = Reconciler([declaration.parse_version(text, sources=sources)], sources)
    view = view_of(archived, reconciler, order(1), payment)
    before = view.flow("sale", "ORD-1")
    with archived.pool.connection() as connection:
        connection.execute("DELETE FROM flow_instances")

    after = view.flow("sale", "ORD-1")

    assert before is not None
    assert after is not None
    assert (before.status, after.status) == ("matched", "matched")


@pytest.mark.parametrize(
    ("key", "own"),
    [("orderId", 'key = "reference"'), ("order_id", 'key = ["reference", "order_id"]'), ("customer_id", "")],
)
def test_an_instance_does_not_follow_from_events_that_are_not_found_by_their_order(archived, key, own):
    """Its verdict would be wrong: of the events with another key, the order names some or none."""
    text = FLOW.format(key=key, name="inventory", source="azure", type="InventoryReserved") + own
    reconciler = Reconciler([declaration.parse_version(text)])
    same = order(1, customer="ORD-1")  # found by its order also where the customer is the key
    view = view_of(archived, reconciler, same, shipment(1))
    before = view.flow("sale", "ORD-1")
    with archived.pool.connection() as connection:
        connection.execute("DELETE FROM flow_instances")

    assert before is not None
    assert view.flow("sale", "ORD-1") is None


def test_the_events_of_an_order_are_found_after_their_identities_were_removed(archived, view):
    """Its instance is stored for longer. The event that was stored may be a later delivery than the first one."""
    before = view.flow("order", "ORD-1")
    assert before is not None
    with archived.pool.connection() as connection:
        connection.execute("UPDATE events SET received_at = received_at + interval '1 s' WHERE source = 'azure'")
    archived.archive.run(NOW)
    archived.drop(FIRST)
    with archived.pool.connection() as connection:
        connection.execute("DELETE FROM event_ids")

    after = view.flow("order", "ORD-1")

    assert after is not None
    assert after.rebuilt is msgspec.UNSET
    assert [(event.key, event.archived) for event in after.events] == [(event.key, True) for event in before.events]


def test_the_events_of_an_order_are_found_in_a_restored_day_whose_identities_were_removed_again(archived, view):
    archived.archive.run(NOW)
    archived.drop(FIRST)
    archived.archive.restore(FIRST, FIRST)
    before = view.flow("order", "ORD-1")
    with archived.pool.connection() as connection:
        connection.execute("DELETE FROM event_ids")

    assert before is not None
    assert len(before.events) == 2
    assert view.flow("order", "ORD-1") == before


@pytest.fixture
def archived_order(filled):
    """The files of an order that only the archive has."""
    filled.drop(FIRST)
    return filled.archive.manifest.files(FileFilter(source="aws", only_archived=True))


def test_a_read_that_takes_too_long_is_interrupted(archived_order, filled, monkeypatch):
    """The interruption takes place within the first request to the store."""
    requested, interrupted = threading.Event(), threading.Event()

    def interrupting(_seconds, interrupt):
        def call():
            requested.wait(30)
            interrupt()
            interrupted.set()

        return threading.Timer(0, call)

    def slow(*arguments):
        requested.set()
        interrupted.wait(30)
        return read_range(*arguments)

    files = filled.opened.reading.files
    read_range = files.read_range
    monkeypatch.setattr(files, "read_range", slow)
    monkeypatch.setattr("helios.adapters.archive.reader.Timer", interrupting)

    with pytest.raises(Retryable, match="INTERRUPT"):
        ArchiveReader(filled.opened.reading, seconds=1).events(archived_order, [], newest_first=True, limit=5)

    reader = ArchiveReader(filled.opened.reading, seconds=None)
    assert len(reader.events(archived_order, [], newest_first=True, limit=5)) == 5


def test_an_archive_that_could_not_be_opened_is_opened_by_the_next_read(archived_order, filled):
    """A process that runs can't refuse to start, so a wrong setting is no other error than a store that is down."""
    attempts = iter([ConfigurationError("wrong"), Retryable("down"), None])

    def open_reader():
        if error := next(attempts):
            raise error
        return ArchiveReader(filled.opened.reading)

    reader = OpenedOnFirstRead(open_reader)
    for reason in ("wrong", "down"):
        with pytest.raises(Retryable, match=reason):
            reader.count(archived_order, [])

    assert reader.count(archived_order, [])[0] == 10
    assert len(reader.events(archived_order, [], newest_first=True, limit=5)) == 5
