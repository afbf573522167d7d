"""The events of the log in the archive: each once, byte for byte as from Postgres, and read where Postgres has none."""

import itertools
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from helios.adapters.postgres.archive import PostgresArchiveOffsets, PostgresArchiveTurn
from helios.adapters.postgres.erasure import PostgresErasure
from helios.adapters.postgres.log import PostgresLogOffsets
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.errors import ConflictError, Rejected, Retryable
from helios.messages import encode_event, topics
from helios.model.archive import FileFilter, total
from helios.model.erasure import Selector
from helios.model.events import Event, EventFilter
from helios.model.replay import ReplayFilter
from helios.normalise import normalise
from helios.ports.log import Progress
from helios.services import log_archive
from helios.services.log_archive import LogArchive
from helios.services.projection import Projector
from tests.fakes.log import MemoryDeliveryLog, MemoryLog, MemoryLogReader
from tests.support.archive import FIRST, NOW, days, lost_in_writing, order, shipment

ALL = FileFilter()
TOPICS = topics("helios")


class Killed(Exception):  # noqa: N818 - no error: the end of a process
    """Ends a run between two steps."""


class Patient(MemoryLogReader):
    """Gives all messages at once, and nothing is left to wait for."""

    def read(self, *, limit, seconds):
        messages = super().read(limit=limit, seconds=seconds)
        if not messages:
            raise Retryable("the log has ended")
        return messages


class Ending(MemoryLogReader):
    """Passes what ends the last transaction, once it has given all messages."""

    def __init__(self, log, offsets, random) -> None:
        super().__init__(log, offsets, random)
        self._ends = {place: 2 * len(messages) for place, messages in log.messages().items()}

    def passed(self):
        if any(self._unread.values()):
            return {}
        passed, self._ends = self._ends, {}
        return {place: end for place, end in passed.items() if self.since(place) < end}


class Nowhere:
    """Says of no partition that it was read."""

    def next_offsets(self, partitions):
        return {}


class World:
    """A log, a projector that stores no events, and the archive."""

    def __init__(self, archived) -> None:
        self.archived = archived
        self.log = MemoryLog()
        store = PostgresStore(archived.pool)
        self.projector = Projector(TOPICS, store=store, log=MemoryDeliveryLog(), stores_events=False)
        self.storing_projector = Projector(TOPICS, store=store, log=MemoryDeliveryLog())
        self.copier = LogArchive(archived.archive, archived.opened.files, seconds=0)

    def append(self, *deliveries) -> list[Event]:
        events = [normalise(delivery) for delivery in deliveries]
        for event in events:
            self.log.append(TOPICS.events, "/".join(event.key), encode_event(event))
        return events

    def project(self, *, stores_events: bool = False) -> None:
        projector = self.storing_projector if stores_events else self.projector
        reader = Ending(self.log, PostgresLogOffsets(self.archived.pool), Random(1))
        while projector.project(reader):
            pass

    def reader(self) -> MemoryLogReader:
        return Ending(self.log, PostgresArchiveOffsets(self.archived.pool), Random(2))

    def copy(self) -> int:
        """Archive all that is in the log."""
        return self.copier.copy(self.reader(), threading.Event(), lambda: NOW)

    def files(self):
        return self.archived.archive.manifest.files(ALL)

    def events(self, **where) -> list[Event]:
        return self.archived.opened.reader.events(EventFilter(**where), after=None, limit=500).items

    def replayed(self) -> list[Event]:
        return self.archived.opened.jobs.events(ReplayFilter(), after=None, limit=500)


@pytest.fixture
def world(archived, monkeypatch) -> World:
    # Reads all that there is, and then stops at once.
    monkeypatch.setattr(LogArchive, "_collect", lambda _, reader, __: _all(reader))
    return World(archived)


def _all(reader):
    read = iter(lambda: reader.read(limit=500, seconds=0), [])
    messages = {(each.topic, each.partition, each.offset): each for each in itertools.chain.from_iterable(read)}
    return [messages[place] for place in sorted(messages)]


def deliveries(number=20, of_days=2):
    return [
        make(1000 * place + each, day=day)
        for place, day in enumerate(days(of_days))
        for each in range(number)
        for make in (order, shipment)
    ]


def test_a_file_of_the_log_is_that_of_postgres_byte_for_byte(world):
    """The digest of a file is computed over the text of every column."""
    sent = deliveries()
    world.append(*sent)
    world.project()
    world.copy()
    from_log = {(file.source, file.day): file.contents for file in world.files()}
    world.archived.ingest(*sent)
    world.archived.archive.run(NOW)

    from_postgres = {(file.source, file.day): file.contents for file in world.files() if not file.from_log}
    assert from_log == from_postgres
    assert [finding for _, finding in world.archived.archive.verify(ALL) if finding] == []


def test_a_copy_is_a_success_also_without_new_events(world):
    with world.archived.pool.connection() as connection:
        connection.execute("UPDATE archive_progress SET succeeded_at = '2025-01-01Z'")

    assert world.copy() == 0

    assert world.archived.opened.reader.archive_succeeded_at() == NOW


def test_events_are_read_from_the_archive_while_postgres_has_none(world):
    sent = world.append(*deliveries())
    world.project()
    assert world.events() == []
    world.copy()

    found = world.events()
    assert {event.key for event in found} == {event.key for event in sent}
    assert all(event.archived for event in found)
    assert found == sorted(found, key=lambda event: event.received_at, reverse=True)
    assert [event.type for event in world.events(order_id="ORD-1003")] == ["InventoryReserved", "OrderPlaced"]
    one = world.archived.opened.reader.event(sent[5].key)
    assert one is not None
    assert (one.key, one.data) == (sent[5].key, sent[5].data)
    assert world.archived.opened.reader.event(("aws", "no producer", "aws-5")) is None
    matching = world.archived.opened.jobs.matching("events", ReplayFilter(order_id="ORD-1003"))
    assert matching.matching == 2


@pytest.mark.parametrize("step", ["begin", "complete"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_is_killed_leaves_each_event_in_one_file(world, monkeypatch, step, moment):
    sent = world.append(*deliveries())
    world.project()
    original = getattr(PostgresArchiveTurn, step)

    def killed(*arguments, **keywords):
        if moment == "after":
            original(*arguments, **keywords)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(PostgresArchiveTurn, step, killed)
        with suppress(Killed):
            world.copy()
    world.append(order(77))
    world.project()
    world.copy()

    assert total(file.contents for file in world.files()).rows == len(sent) + 1
    assert len(world.events()) == len(sent) + 1
    assert world.archived.archive.unlisted() == []


def test_two_processes_with_the_same_partition_archive_it_once(world):
    world.append(*deliveries())
    world.project()
    late = world.reader()
    world.copy()
    with pytest.raises(ConflictError):
        world.copier.copy(late, threading.Event(), lambda: NOW)

    assert total(file.contents for file in world.files()).rows == 80


def test_the_archive_begins_where_the_projector_has_stopped_to_store_events(world):
    """It waits for the projector, whatever the order in which they are started with the new setting."""
    before = world.append(*deliveries(of_days=1))
    world.project(stores_events=True)
    after = world.append(order(500), shipment(501), order(502))
    with pytest.raises(ConflictError):
        world.copy()
    world.project()
    world.copy()

    assert total(file.contents for file in world.files()).rows == len(after)
    assert {event.key for event in world.events()} == {event.key for event in [*before, *after]}
    archived = {event.key for event in world.events() if event.archived is True}
    assert archived == {event.key for event in after}


def test_each_event_is_listed_once_after_three_changes_of_the_setting(world):
    """An archive that has caught up is where the projector is: it leaves what Postgres then stores."""
    sent = []
    for part in range(4):
        stores_events = part % 2 == 1
        sent += world.append(*(order(10 * part + number) for number in range(10)))
        world.project(stores_events=stores_events)
        if not stores_events:
            world.copy()

    assert ids(sent) == ids(world.events()) == ids(world.replayed())
    in_postgres = {event.id for event in world.events() if event.archived is not True}
    assert in_postgres == {f"aws-{number}" for number in [*range(10, 20), *range(30, 40)]}
    with world.archived.pool.connection() as connection:
        archived, projected = (
            connection.execute(f"SELECT topic, partition, next_offset FROM {table} ORDER BY 2").fetchall()
            for table in ("archive_offsets", "log_offsets")
        )
    assert archived == projected


def test_what_the_archive_has_read_before_the_projector_is_not_stored_too(world):
    """The projector has stopped first, and the archive has gone on."""
    sent = world.append(order(1), order(2), order(3))
    world.project()
    world.copy()
    sent += world.append(order(4), order(5), order(6))
    world.copy()
    sent += world.append(order(7), order(8), order(9))
    world.project(stores_events=True)

    assert ids(sent) == ids(world.events()) == ids(world.replayed())
    assert {event.id for event in world.events() if event.archived is not True} == {"aws-7", "aws-8", "aws-9"}
    world.project()
    world.copy()
    assert ids(sent) == ids(world.events())


def test_an_archive_that_catches_up_late_leaves_what_postgres_has(world):
    """The setting was changed back before it had read all."""
    sent = world.append(order(1), order(2), order(3))
    world.project()
    world.copy()
    sent += world.append(order(4), order(5), order(6))
    world.project()
    sent += world.append(order(7), order(8), order(9))
    world.project(stores_events=True)
    world.copy()

    assert ids(sent) == ids(world.events()) == ids(world.replayed())


def ids(events) -> list[str]:
    """The ids of events, each as often as its event is listed."""
    return sorted(event.id for event in events)


def test_a_log_that_begins_again_is_stored_although_the_archive_had_read_further(world):
    """Its offsets say nothing about the new log."""
    world.append(*(order(number) for number in range(20)))
    world.project()
    world.copy()
    with world.archived.pool.connection() as connection:
        connection.execute("UPDATE archive_offsets SET next_offset = next_offset + 100")
    stored = PostgresLogOffsets(world.archived.pool).next_offsets(list(world.log.messages()))
    world.log = MemoryLog()
    new = world.append(*(order(number) for number in range(20, 30)))
    reader = Ending(world.log, Nowhere(), Random(1))
    reader.commit({place: Progress(offset, offset) for place, offset in stored.items()})
    while world.storing_projector.project(reader):
        pass
    new += world.append(*(order(number) for number in range(30, 40)))
    world.project(stores_events=True)

    assert {event.id for event in world.events() if event.archived is not True} == {event.id for event in new}


def test_small_files_of_a_day_become_one_with_each_event_once(world):
    """A job that begins at an earlier savepoint writes events again."""
    sent = deliveries(number=3, of_days=1)
    for delivery in [*sent, *sent]:
        world.append(delivery)
        world.project()
        world.copy()
    for _ in range(3):  # one source and day each
        world.copy()

    assert sorted((file.source, file.contents.rows) for file in world.files()) == [("aws", 3), ("azure", 3)]
    assert len(world.events()) == len(sent)
    assert world.archived.archive.unlisted() == []


def test_small_files_stay_if_the_merged_one_lacks_an_event(world, monkeypatch):
    for delivery in deliveries(number=3, of_days=1):
        world.append(delivery)
    world.project()
    with monkeypatch.context() as patched:
        patched.setattr(LogArchive, "_merge", lambda *_: None)
        world.copy()
        world.append(order(500), order(500))
        world.project()
        world.copy()
    before = world.files()
    lacking = "the merged file of aws 2025-11-01 does not have all the events"
    with lost_in_writing("aws-1"), pytest.raises(Retryable, match=lacking):
        world.copy()
    assert world.files() == before

    world.copy()
    assert [file.contents.rows for file in world.files() if file.source == "aws"] == [4]


def test_versions_of_an_event_received_at_the_same_time_become_one(world):
    """A job that begins at an earlier savepoint may have other rules of normalisation."""
    (event,) = world.append(order(1))
    for subject in "abcdefgh":
        world.log.append(TOPICS.events, "1", encode_event(replace(event, subject=subject)))
        world.project()
        world.copy()

    assert [file.contents.rows for file in world.files()] == [1]


def test_files_of_a_day_that_is_not_over_are_merged_when_there_are_many(world, monkeypatch):
    monkeypatch.setattr(log_archive, "MERGED_FILES", 3)
    now = NOW.replace(month=11, day=FIRST.day, hour=12)
    for number in range(4):
        world.append(order(number))
        world.project()
        world.copier.copy(world.reader(), threading.Event(), lambda: now)

    assert sorted(file.contents.rows for file in world.files()) == [1, 3]


def test_an_erased_event_that_is_still_in_the_log_is_not_archived(world):
    ada, other = world.append(order(1, customer="CUST-ADA"), order(2))
    world.project()
    PostgresErasure(world.archived.url).mark([ada])
    world.copy()

    assert [event.key for event in world.events()] == [other.key]


def test_an_erasure_rewrites_a_file_of_the_log(world):
    ada, other = world.append(order(1, customer="CUST-ADA"), order(2))
    world.project()
    world.copy()
    (file,) = world.files()
    files = world.archived.opened.files
    selector = Selector("customer_id", "CUST-ADA")
    assert [event.key for event in files.matching(file, selector)] == [ada.key]
    with world.archived.archive.own_turn() as turn, tempfile.TemporaryDirectory() as folder:
        rewritten = files.rewrite(file, selector, Path(folder))
        world.archived.archive.store(turn, rewritten, replaced=[file.path], now=NOW)

    assert [each.from_log for each in world.files()] == [True]
    assert [event.key for event in world.events()] == [other.key]


def test_events_of_the_log_are_not_restored_because_every_reader_has_them_already(world):
    world.archived.ingest(order(1), shipment(1))
    world.archived.archive.run(NOW)
    world.archived.drop(FIRST)
    world.append(order(2), order(3, day=days(2)[1]))
    world.project()
    world.copy()
    before = {event.key for event in world.events()}

    with pytest.raises(Rejected, match="All events of 2025-11-02 to 2025-11-02 were archived from the log"):
        world.archived.archive.restore(days(2)[1], days(2)[1])
    assert world.archived.archive.restore(FIRST, FIRST)[1] == 2

    assert len(before) == 4
    assert sorted(event.key for event in world.events()) == sorted(before)
    assert world.archived.archive.run(NOW, recheck=True).files == 0


def test_a_message_that_is_no_event_is_left_out(world):
    world.log.append(TOPICS.events, "1", b"{")
    (event,) = world.append(order(1))
    world.log.append(TOPICS.events, "1", None)
    world.project()
    world.copy()

    assert [each.key for each in world.events()] == [event.key]
    assert world.copy() == 0


def test_texts_that_json_and_postgres_write_in_their_own_ways(world):
    base = normalise(order(1))
    attributes = {"zz": "a/b", "é": "\x7f\t\n", "b": 'quoted " and \\', "aa": "\u2028🜁", "a": ""}
    event = replace(base, attributes=attributes, amount=base.amount and base.amount * 100, subject="a\tb")
    world.log.append(TOPICS.events, "1", encode_event(event))
    world.project()
    world.copy()
    (from_log,) = world.files()
    store = PostgresStore(world.archived.pool)
    with store.transaction() as work:
        work.events.insert([event]).result()
    world.archived.archive.run(NOW)

    contents = [file.contents for file in world.files()]
    assert contents == [from_log.contents] * 2
