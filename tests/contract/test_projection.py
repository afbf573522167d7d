"""What the projector stores is what ingest would have stored, in whatever portions it reads the log."""

from collections.abc import Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.balances import PostgresBalances
from helios.adapters.postgres.log import PostgresLogOffsets, PostgresProjectionProgress
from helios.adapters.postgres.resolutions import PostgresResolutions
from helios.adapters.postgres.stream import PostgresOutbox
from helios.errors import ConflictError, Retryable
from helios.flink.steps import Judge, encode_record
from helios.messages import (
    RecomputeMessage,
    count_key,
    decode_delivery,
    encode_count,
    encode_event,
    encode_recompute,
    encode_verdict,
    topics,
    verdict_key,
)
from helios.model.balances import MANIFEST_TYPE, BalanceFilter
from helios.model.counts import Count
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import Delivery, EventFilter
from helios.model.flows import FlowFilter
from helios.model.resolutions import InstanceName, ResolutionRequest
from helios.normalise import normalise
from helios.ports.log import Partition, Progress
from helios.ports.resolutions import Resolutions
from helios.reconciliation.fold import Fold
from helios.reconciliation.record import FlowCount, FlowRecord
from helios.reconciliation.rule import Rule
from helios.services import projection
from helios.services.balances import BalanceJob
from helios.services.ingest import ingest
from helios.services.outcomes import summaries
from helios.services.projection import Projector
from helios.services.recompute import recompute
from helios.services.reconciler import Reconciler
from helios.services.resolutions import resolve
from helios.services.sweep import expire_flows
from tests.conftest import TABLES
from tests.fakes.log import MemoryDeliveryLog, MemoryLog, MemoryLogReader
from tests.fakes.resolutions import MemoryResolutions
from tests.fakes.store import MemoryOutbox, MemoryStore
from tests.support.deliveries import NOON, eventbridge, poison
from tests.support.depth import examples
from tests.support.instances import ORDER, SHIPMENT, leg, sent
from tests.support.job import Job
from tests.support.rule_examples import part

FLOWS = [ORDER, SHIPMENT]
TOPICS = topics("helios")
OVERDUE = NOON + timedelta(minutes=5)
ALL = timedelta(days=365)
SAME_EVERY_TIME = settings(derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Projected:
    """A log, and the projectors of one store."""

    def __init__(self, store, offsets) -> None:
        self.store = store
        self.offsets = offsets
        self.log = MemoryLog()
        self.job = Job(Fold(FLOWS), TOPICS, self.log.append)
        self.deliveries = MemoryDeliveryLog()
        self.projector = Projector(TOPICS, store=store, log=self.deliveries)

    def reader(self, seed: int = 0) -> MemoryLogReader:
        """A reader of all partitions that begins where the store says."""
        return MemoryLogReader(self.log, self.offsets, Random(seed))

    def project(self, seed: int = 0) -> int:
        """Project all that is in the log, and return the number of messages."""
        reader, total = self.reader(seed), 0
        while number := self.projector.project(reader):
            total += number
        return total


@pytest.fixture
def projected(store, request) -> Projected:
    """The projection into every store that Helios ships."""
    offsets = store if isinstance(store, MemoryStore) else PostgresLogOffsets(request.getfixturevalue("pool"))
    return Projected(store, offsets)


def stored(store) -> dict[str, object]:
    """Everything that people look at, as far as the order of arrival does not decide about it."""
    dead_letters = store.dead_letters(DeadLetterFilter(), after=None, limit=500).items
    return {
        "events": sorted(store.events(EventFilter(), after=None, limit=500).items, key=lambda event: event.key),
        "flows": sorted(
            (replace(record, version=0) for record in store.flows(FlowFilter(), after=None, limit=500).items),
            key=lambda record: record.identity,
        ),
        "sums": sums(store),
        "minutes": store.minutes(NOON - ALL),
        "dead dead_letters": sorted(
            (dead_letter.dead_letter for dead_letter in dead_letters), key=lambda dead_letter: dead_letter.fingerprint
        ),
    }


def sums(store) -> list[FlowCount]:
    """The sums of instances; those of transitions that cancel each other out are zero, and say nothing."""
    minute = timedelta(minutes=1)
    counts = store.flow_counts(None, since=NOON - minute, until=NOON + minute, bucket=minute)
    return sorted(
        (count for count in counts if count.instances), key=lambda count: (count.flow, count.what, count.value)
    )


def ingested(deliveries: Sequence[Delivery], *, expired: datetime | None) -> dict[str, object]:
    """What ingest stores of the same deliveries."""
    store, reconciler = MemoryStore(), Reconciler(FLOWS)
    for delivery in deliveries:
        ingest([delivery], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
    if expired:
        expire_flows(expired, store=store, reconciler=reconciler)
    return stored(store)


def reconciled(deliveries: Sequence[Delivery]) -> FlowRecord:
    """The record of the only order."""
    job = Job(Fold(FLOWS), TOPICS, MemoryLog().append)
    job.take(deliveries)
    (record,) = job.records.values()
    return record


def traffic() -> list[Delivery]:
    """Two whole orders, one that lacks a leg, duplicates, a contradiction, and a delivery that can't be read."""
    whole = [leg(name, key) for key in ("ORD-1", "ORD-2") for name in ("order", "payment", "inventory")]
    contradictory = leg("payment", "ORD-1", amount=1)
    return [*whole, leg("order", "ORD-3"), whole[1], contradictory, poison(), poison(), whole[0]]


def test_the_projection_is_what_ingest_would_have_stored(projected):
    projected.job.take(traffic())
    projected.job.expire(OVERDUE)
    assert projected.project() > 10

    assert stored(projected.store) == ingested(traffic(), expired=OVERDUE)


@pytest.mark.parametrize("title", ["memory", "postgres"])
@settings(SAME_EVERY_TIME, max_examples=examples(15, long=200))
@given(data=st.data())
def test_neither_portions_nor_restarts_change_what_is_stored(title, request, data):
    """A projector that is replaced between any two transactions repeats nothing and leaves nothing out."""
    if title == "memory":
        projected = Projected(store := MemoryStore(), store)
    else:
        pool = request.getfixturevalue("pool")
        with pool.connection() as connection:
            connection.execute(f"TRUNCATE {TABLES}")
        projected = Projected(request.getfixturevalue("postgres_store"), PostgresLogOffsets(pool))
    order = data.draw(st.permutations(traffic()))
    for number, delivery in enumerate(order):
        projected.job.take([delivery])
        if data.draw(st.booleans()):
            projected.projector.project(projected.reader(number))  # a new one each time, which stops after a batch
    projected.job.expire(OVERDUE)
    projected.project(seed=data.draw(st.integers(0, 99)))

    assert stored(projected.store) == ingested(order, expired=OVERDUE)
    assert projected.project() == 0


def exhaust(projector: Projector, reader: MemoryLogReader) -> None:
    """Project all that a reader has."""
    while projector.project(reader):
        pass


def test_a_second_projector_of_a_partition_stores_nothing_twice(projected):
    """It has lost the partition to another one, and does not know it yet."""
    projected.job.take(traffic())
    late = projected.reader(seed=1)
    projected.project(seed=2)
    before = stored(projected.store)
    with pytest.raises(ConflictError):
        exhaust(projected.projector, late)

    assert stored(projected.store) == before


def test_a_frame_has_what_its_messages_change(projected, request):
    projected.job.take(traffic())
    projected.job.expire(OVERDUE)
    projected.project()
    store = projected.store
    outbox = MemoryOutbox(store) if isinstance(store, MemoryStore) else PostgresOutbox(request.getfixturevalue("pool"))
    outbox.number()
    frames = outbox.frames(after=0, limit=100)

    counts = [count for frame in frames for count in frame.counts]
    assert sum(count.received for count in counts) == len(traffic())
    assert sum(len(frame.events) for frame in frames) == sum(count.stored for count in counts) == 7
    final = {change.key: change.status for frame in frames for change in frame.flows}
    assert final == {"ORD-1": "mismatched", "ORD-2": "matched", "ORD-3": "incomplete"}


def test_a_recompute_beside_the_projector_is_not_lost(projected):
    """The next record of the job has the next version, whatever wrote the version before."""
    projected.job.take([leg("order", "ORD-1"), leg("payment", "ORD-1", amount=1)])
    projected.project()
    lenient = replace(ORDER, rule=())
    recompute(
        EventFilter(),
        NOON,
        flow=None,
        reader=projected.store,
        store=projected.store,
        reconciler=Reconciler([lenient]),
    )
    recomputed = projected.store.flow(("order", "ORD-1"))
    projected.job.take([leg("inventory", "ORD-1")])
    projected.project()
    final = projected.store.flow(("order", "ORD-1"))

    assert (recomputed.issues, recomputed.version) == ([], 2)
    assert (final.status, final.version) == ("mismatched", 3)


def test_a_record_that_has_not_changed_is_not_written(projected):
    """A resolution would be reopened by it."""
    projected.job.take([leg("order")])
    projected.project()
    record = projected.job.records["order", "ORD-1"]
    projected.log.append(TOPICS.verdicts, verdict_key(record), encode_verdict(replace(record, version=9)))

    assert projected.project() == 1
    assert projected.store.flow(("order", "ORD-1")).version == 1


@pytest.fixture
def resolutions(projected, request) -> Resolutions:
    """The decisions about the instances of the store."""
    if isinstance(projected.store, MemoryStore):
        return MemoryResolutions(projected.store)
    return PostgresResolutions(request.getfixturevalue("pool"))


def accept(resolutions: Resolutions, key: str) -> None:
    """Accept an order as it is."""
    request = ResolutionRequest(step="accept", instances=(InstanceName("order", key),), text="known")
    resolve(request, resolutions=resolutions, flows=["order"], actor="kim", now=OVERDUE)


def test_records_that_a_job_from_an_earlier_savepoint_writes_again_change_nothing(projected, resolutions):
    """People have accepted a mismatch and a missing leg; in between, the job writes what was before these."""
    projected.job.take([leg("order", "ORD-1"), leg("payment", "ORD-1", amount=1), leg("inventory", "ORD-1")])
    projected.job.take([leg("order", "ORD-2"), leg("order", "ORD-2")])
    projected.job.expire(OVERDUE)
    verdicts = [
        message.value
        for (topic, _), messages in projected.log.messages().items()
        for message in messages
        if topic == TOPICS.verdicts and message.value
    ]
    projected.project()
    for key in ("ORD-1", "ORD-2"):
        accept(resolutions, key)
    before = stored(projected.store)
    decided = [projected.store.flow(("order", key)) for key in ("ORD-1", "ORD-2")]
    assert [(flow.status, flow.resolved) for flow in decided] == [("mismatched", True), ("incomplete", True)]

    for value in verdicts:
        projected.log.append(TOPICS.verdicts, "order", value)
        projected.project()
        assert stored(projected.store) == before
    assert len(verdicts) >= 6
    assert projected.deliveries.values == []


def test_the_end_of_waiting_of_an_accepted_order_is_stored_and_reopens_nothing(projected, resolutions):
    """The order of its events is final at once, and its deadline changes nothing else."""
    flow = replace(ORDER, rule=(Rule(before=("order", "payment")),))
    projected.job.take_rules(Fold([flow]))
    projected.job.take([leg("order"), part(flow, "payment", happened_after=-60), leg("inventory")])
    projected.project()
    accept(resolutions, "ORD-1")

    projected.job.expire(OVERDUE)
    projected.project()

    record = projected.store.flow(("order", "ORD-1"))
    assert (record.status, record.waiting, record.resolved) == ("mismatched", False, True)
    assert resolutions.resolutions([record.identity])[record.identity].state == "accepted"

    projected.job.take([leg("order", id_="2", after=600)])
    projected.project()
    assert resolutions.resolutions([record.identity])[record.identity].state == "reopened"


def act_on_messages(projected: Projected) -> None:
    """Let the job take what the projector has appended, and write its records."""
    judge = Judge(Fold(FLOWS), horizon=ALL)
    for value in projected.deliveries.values:
        message = decode_delivery(value)
        assert isinstance(message, RecomputeMessage)
        known = encode_record(projected.job.records[message.flow, message.key])[1]
        record, is_written = judge.act_on([(0, value.decode())], known, NOON + ALL, None)
        assert record
        assert is_written
        projected.log.append(TOPICS.verdicts, *encode_replacement(record))


def encode_replacement(record: FlowRecord) -> tuple[str, bytes]:
    """The message of a record that a recompute or an erasure has made."""
    key, text = encode_record(record, replaces=True)
    return key, text.encode()


def test_evidence_that_the_job_has_forgotten_is_given_back_to_it(projected):
    """A second payment arrives when the state has no record any more: it replaces nothing, and is merged."""
    first = [leg(name, "ORD-1") for name in ("order", "payment", "inventory")]
    late = leg("payment", "ORD-1", id_="again", after=timedelta(days=31).total_seconds())
    projected.job.take(first)
    projected.project()
    before = stored(projected.store)["flows"]
    projected.job.records.clear()
    projected.job.take([late])
    projected.project()
    assert stored(projected.store)["flows"] == before
    assert len(projected.deliveries.values) == 1

    act_on_messages(projected)
    projected.project()
    assert stored(projected.store) == ingested([*first, late], expired=None)


def test_evidence_that_arrived_earlier_in_postgres_keeps_its_arrival(projected):
    """As after a switch from Postgres: a sender sends an order again that the job does not know."""
    payment = leg("payment", "ORD-1", after=1)
    first = [leg("order", "ORD-1"), payment, payment, leg("inventory", "ORD-1", after=2)]
    again = [leg("order", "ORD-1", after=120), leg("payment", "ORD-1", id_="again", after=121)]
    projected.job.take(first)
    projected.project()
    before = projected.store.flow(("order", "ORD-1"))
    projected.job.records.clear()
    projected.job.take(again)
    projected.project()
    assert projected.store.flow(("order", "ORD-1")) == before

    act_on_messages(projected)
    projected.project()
    after = projected.store.flow(("order", "ORD-1"))
    assert (after.status, after.opened_at) == ("matched", NOON)
    # The second delivery of the order is not counted: the state does not know that it is the second one.
    assert after == replace(reconciled([*first, again[1]]), version=after.version)
    count = len(projected.deliveries.values)
    projected.job.records[after.identity] = after
    projected.job.take([again[1]])
    projected.project()
    assert len(projected.deliveries.values) == count


def test_the_same_evidence_with_later_arrivals_replaces_nothing(projected):
    projected.job.take([leg(name, "ORD-1") for name in ("order", "payment", "inventory")])
    projected.project()
    before = projected.store.flow(("order", "ORD-1"))
    projected.job.records.clear()
    projected.job.take([leg(name, "ORD-1", after=120) for name in ("order", "payment", "inventory")])
    projected.project()

    assert projected.store.flow(("order", "ORD-1")) == before
    assert projected.deliveries.values == []


def test_a_deadline_that_passes_for_a_job_that_has_less_evidence_ends_the_waiting(projected):
    projected.job.take([leg("order", "ORD-1"), leg("order", "ORD-1"), leg("payment", "ORD-1")])
    projected.project()
    projected.job.records.clear()
    projected.job.take([leg("order", "ORD-1")])
    projected.job.expire(OVERDUE)
    projected.project()
    assert projected.store.flow(("order", "ORD-1")).status == "open"

    act_on_messages(projected)
    projected.project()
    record = projected.store.flow(("order", "ORD-1"))
    assert (record.status, [item.leg for item in record.evidence_set.items]) == ("incomplete", ["order", "payment"])


def test_evidence_that_no_message_takes_stops_no_other(projected, monkeypatch, caplog):
    """The log would refuse it again and again."""
    for key in ("ORD-1", "ORD-2"):
        projected.job.take([leg("order", key)] + [leg("inventory", key)] * (key == "ORD-1"))
    projected.project()
    projected.job.records.clear()
    small = encode_recompute(projected.store.flow(("order", "ORD-2")), generation=None)[1]
    monkeypatch.setattr("helios.messages.MAX_RECORD_BYTES", len(small))
    projected.job.take([leg("payment", "ORD-1"), leg("payment", "ORD-2")])
    projected.project()

    assert projected.deliveries.values == [small]
    assert "too large" in caplog.text


def test_while_the_deliveries_take_nothing_no_message_is_projected(projected):
    projected.job.take([leg("order", "ORD-1")])
    projected.project()
    projected.job.records.clear()
    projected.job.take([leg("payment", "ORD-1")])
    projected.deliveries.is_down = True
    before = stored(projected.store)
    with pytest.raises(Retryable):
        projected.project()
    assert stored(projected.store) == before

    projected.deliveries.is_down = False
    projected.project()
    assert len(projected.deliveries.values) == 1


def test_a_record_that_lost_evidence_to_a_recompute_or_an_erasure_replaces_the_stored_one(projected):
    """Also if the next record of the instance is in the same batch."""
    projected.job.take([leg("order", "ORD-1"), leg("payment", "ORD-1")])
    projected.project()
    job = Job(Fold(FLOWS), TOPICS, MemoryLog().append)
    job.take([leg("payment", "ORD-1")])
    projected.log.append(TOPICS.verdicts, *encode_replacement(job.records["order", "ORD-1"]))
    job.take([leg("inventory", "ORD-1")])
    record = job.records["order", "ORD-1"]
    projected.log.append(TOPICS.verdicts, verdict_key(record), encode_verdict(record))
    projected.project()

    assert projected.store.flow(("order", "ORD-1")).evidence_set == record.evidence_set
    assert projected.deliveries.values == []


def test_counts_that_are_read_again_add_nothing(projected):
    """A job that begins at an earlier savepoint writes them again, in the same or in smaller steps."""
    for stored_so_far, duplicates in ((1, 0), (2, 1), (1, 0), (2, 3)):
        count = Count(minute=NOON, source="aws", type="OrderPlaced", stored=stored_so_far, duplicate=duplicates)
        projected.log.append(TOPICS.counts, count_key(count), encode_count(count))
        projected.project()

    (minute,) = projected.store.minutes(NOON - ALL)
    assert (minute.stored, minute.duplicate) == (2, 3)


def test_messages_that_nobody_can_store_become_dead_letters_and_stop_no_other(projected, monkeypatch):
    """One is no message of the job, and one triggers a bug."""
    good, bad = (normalise(eventbridge(id_)) for id_ in ("good", "bad"))
    for key, value in (
        ("1", encode_event(good)),
        ("1", b"{"),
        ("1", encode_event(bad)),
        ("1", None),
        ("1", encode_event(replace(good, id="last"))),
    ):
        projected.log.append(TOPICS.events, key, value)
    projected.log.append(TOPICS.verdicts, "order/1", None)

    def defective(events):
        if any(event.id == "bad" for event in events):
            raise KeyError("bad")
        return summaries(events)

    monkeypatch.setattr(projection, "summaries", defective)
    assert projected.project() == 6

    events = projected.store.events(EventFilter(), after=None, limit=9).items
    assert {event.id for event in events} == {"good", "last"}
    dead_letters = projected.store.dead_letters(DeadLetterFilter(), after=None, limit=9).items
    reasons = sorted(dead_letter.dead_letter.reason for dead_letter in dead_letters)
    assert ["is no message of the job" in reason for reason in reasons] == [True, False]
    assert "internal error (KeyError)" in reasons[1]
    assert all("helios.events/" in reason for reason in reasons)


def test_a_value_that_postgres_refuses_is_a_dead_letter(postgres_store, pool):
    projected = Projected(postgres_store, PostgresLogOffsets(pool))
    event = replace(normalise(eventbridge("1")), subject="a\0b")
    for each in (event, normalise(eventbridge("2"))):
        projected.log.append(TOPICS.events, "1", encode_event(each))
    projected.project()

    (dead_letter,) = postgres_store.dead_letters(DeadLetterFilter(), after=None, limit=9).items
    assert b"subject" in dead_letter.dead_letter.body
    assert [each.id for each in postgres_store.events(EventFilter(), after=None, limit=9).items] == ["2"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_after_a_failure_a_new_reader_begins_where_the_store_says(projected, monkeypatch, moment):
    """The connection may end before the transaction has begun, or after its commit and before the answer."""
    monkeypatch.setattr(projection, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(projection, "MAX_BATCH", 4)
    projected.job.take(traffic())
    projected.job.expire(OVERDUE)
    transaction, attempts = projected.store.transaction, count()

    @contextmanager
    def failing():
        fails = next(attempts) % 3 == 1
        if fails and moment == "before":
            raise Retryable("the store is away")
        with transaction() as work:
            yield work
        if fails:
            raise Retryable("the store gave no answer")

    monkeypatch.setattr(projected.store, "transaction", failing)
    projected.projector.follow(projected.reader, Stopping(projected))

    assert next(attempts) > 3
    assert stored(projected.store) == ingested(traffic(), expired=OVERDUE)


class Stopping:
    """An event that is set once all is projected."""

    def __init__(self, projected: Projected) -> None:
        self._projected = projected

    def is_set(self) -> bool:
        """Whether every message is stored."""
        ends = {partition: messages[-1].offset + 1 for partition, messages in self._projected.log.messages().items()}
        return self._projected.offsets.next_offsets(list(ends)) == ends

    def wait(self, _seconds: float) -> bool:
        """Does not wait."""
        return self.is_set()


def test_offsets_move_only_from_where_they_are(projected):
    partition: Partition = (TOPICS.events, 0)
    with projected.store.transaction() as work:
        work.log.advance({partition: Progress(0, 5)})
    with pytest.raises(ConflictError), projected.store.transaction() as work:
        work.log.advance({partition: Progress(4, 7)})

    assert projected.offsets.next_offsets([partition, (TOPICS.events, 1)]) == {partition: 5}


@pytest.mark.parametrize("stores_events", [True, False])
def test_manifests_are_declared_and_repetitions_counted(pool, postgres_store, stores_events):
    """What is balanced is what is projected, and not later; also if Postgres stores no events."""
    projected = Projected(postgres_store, PostgresLogOffsets(pool))
    projected.projector = Projector(TOPICS, store=postgres_store, log=MemoryDeliveryLog(), stores_events=stores_events)
    happened_at = NOON + timedelta(seconds=1)
    counts = {"minute": NOON.isoformat(), "events": [{"type": "OrderPlaced", "published": 3}]}
    orders = [
        sent("eventbridge", "OrderPlaced", {"order_id": key}, id_=key, received_at=happened_at, happened_at=happened_at)
        for key in ("ORD-1", "ORD-2")
    ]
    after = NOON + timedelta(seconds=61)
    declared = sent("eventbridge", MANIFEST_TYPE, counts, id_="m-1", received_at=after, happened_at=after)
    projected.job.take([*orders, orders[0], declared])
    projected.project()
    progress, balances = PostgresProjectionProgress(pool), PostgresBalances(pool)
    job = BalanceJob(balances, grace=timedelta(minutes=1), arrived_until=progress.projected_until)

    def states() -> list[tuple[str, int, int, int]]:
        job.run(NOON + timedelta(minutes=9))
        page = balances.balances(BalanceFilter(), after=None, limit=9)
        return [(each.state, each.stored, each.duplicate, each.missing) for each in page.items]

    assert states() == []  # nobody knows how far the log is projected
    progress.raise_projected_until(NOON + timedelta(seconds=90))
    assert states() == [("counting", 0, 0, 0)]
    progress.raise_projected_until(NOON + timedelta(minutes=3))
    progress.raise_projected_until(NOON + timedelta(minutes=2))

    assert progress.projected_until() == NOON + timedelta(minutes=3)
    assert states() == [("missing", 2, 1, 1)]
    assert bool(postgres_store.events(EventFilter(), after=None, limit=1).items) == stores_events
