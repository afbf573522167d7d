"""Batches that are stored in one round trip, on the assumption that the store knows nothing of them."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from msgspec.structs import replace
from psycopg.conninfo import make_conninfo

from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.model.balances import MANIFEST_TYPE
from helios.model.flows import FlowFilter
from helios.model.stream import Frame
from helios.normalise import normalise
from helios.ports.unit_of_work import InstancesChanged, NewBatch
from helios.services.hints import Assumptions, Hints
from helios.services.ingest import ingest
from helios.services.new_batch import candidate, store_candidate
from helios.services.reading import Reading
from helios.services.reconciler import Reconciler
from tests.fakes.store import MemoryDedupeCache
from tests.support.deliveries import eventbridge
from tests.support.envelopes import TIME
from tests.support.instances import ORDER, leg

RECONCILER = Reconciler([ORDER])
WRITERS = 8

SCANS = "SELECT seq_scan, idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'flow_instances'"


@pytest.fixture
def store_new(store):
    """A function that stores deliveries as new events; its result is None if they were not stored."""

    def run(*deliveries, hinted=(), assumptions=None):
        batch = candidate([Reading(each, normalise(each)) for each in deliveries], RECONCILER, None)
        assert batch is not None
        stored = store_candidate(
            batch,
            Hints(set(hinted), are_own=False),
            store=store,
            reconciler=RECONCILER,
            assumptions=assumptions or Assumptions(),
        )
        return stored and [outcome.status for outcome in stored.outcomes]

    return run


def state(store):
    """Everything that a batch writes."""
    instances = store.flows(FlowFilter(), after=None, limit=100).items
    return sorted(instance.identity for instance in instances), store.totals(leg("order").received_at)


def test_new_events_are_stored_together(store, store_new):
    deliveries = [leg("order"), leg("payment"), eventbridge("x", type_="Unknown")]
    assert store_new(*deliveries) == ["stored", "stored", "stored"]

    identities, totals = state(store)
    assert identities == [("order", "ORD-1")]
    assert (totals.stored, totals.duplicate) == (3, 0)


@pytest.mark.parametrize(
    "beside",
    [
        leg("order"),
        eventbridge(type_=MANIFEST_TYPE, detail={"minute": TIME, "events": [{"type": "T", "published": 1}]}),
    ],
)
def test_a_batch_with_a_repetition_or_a_manifest_writes_more_than_new_events(beside):
    readings = [Reading(each, normalise(each)) for each in (leg("order"), beside)]

    assert candidate(readings, RECONCILER, None) is None


def test_nothing_is_written_if_one_event_is_stored(store, store_new):
    store_new(leg("order"))
    before = state(store)

    assert store_new(leg("order", "ORD-2"), leg("order")) is None
    assert state(store) == before


def test_nothing_is_written_if_one_instance_has_another_version(store, store_new):
    store_new(leg("order"))
    before = state(store)
    events = sorted([normalise(leg("order", "ORD-2")), normalise(leg("payment"))], key=lambda event: event.key)
    instances, changes = RECONCILER.apply(RECONCILER.evidence(events), {})
    frame = Frame(counts=[], events=[])

    with pytest.raises(InstancesChanged) as raised:
        store.store_new(NewBatch(events=events, instances=instances, frame=frame, flow_counts=changes.counts))
    assert raised.value.instances == store.instances([("order", "ORD-1")])
    assert state(store) == before


def test_where_notices_are_suppressed_a_changed_instance_is_read(postgres_store, direct_url):
    """A role may have set ``client_min_messages``."""
    reconciler, assumptions = Reconciler([ORDER]), Assumptions()
    ingest([leg("order")], dedupe=MemoryDedupeCache(), store=postgres_store, reconciler=reconciler)

    quiet = make_conninfo(direct_url, options="-c client_min_messages=warning")
    with open_pool(quiet, connections=1, timeout_seconds=30) as pool:
        store = PostgresStore(pool)
        batch = candidate([Reading(leg("payment"), normalise(leg("payment")))], reconciler, None)
        assert batch
        nothing = Hints(set(), are_own=False)
        assert store_candidate(batch, nothing, store=store, reconciler=reconciler, assumptions=assumptions)
    assert postgres_store.flow(("order", "ORD-1")).version == 2


def test_an_instance_that_is_stored_after_all_is_read(store, store_new):
    store_new(leg("order"))

    assert store_new(leg("order", "ORD-2"), leg("payment")) == ["stored", "stored"]
    assert store.flow(("order", "ORD-1")).version == 2


def test_an_instance_that_the_cache_holds_is_read_first(store, store_new):
    store_new(leg("order"))

    assert store_new(leg("payment"), leg("order", "ORD-2"), hinted=[("order", "ORD-1")]) == ["stored", "stored"]
    assert store.flow(("order", "ORD-1")).version == 2


def test_a_candidate_has_new_events_only():
    contradictory = replace(leg("order"), body=leg("order", amount=9).body)
    for deliveries in ([leg("order"), contradictory], [eventbridge(str(number)) for number in range(100)]):
        assert candidate([Reading(each, normalise(each)) for each in deliveries], RECONCILER, None) is None


def test_legs_of_the_same_orders_from_many_writers_are_all_stored(postgres_store):
    """The writers race for the same instances, in different order. None deadlocks, and no evidence is lost."""
    orders = [f"ORD-{number}" for number in range(6)]
    dedupe, assumptions = MemoryDedupeCache(), Assumptions()

    def write(number: int) -> list[str]:
        names = ["order", "payment", "inventory"]
        own = [leg(name, order, id_=str(number)) for name in names for order in orders]
        turn = number * 5 % len(own)
        return [
            outcome.status
            for start in range(0, len(own), 2)
            for outcome in ingest(
                (own[turn:] + own[:turn])[start : start + 2],
                dedupe=dedupe,
                store=postgres_store,
                reconciler=RECONCILER,
                assumptions=assumptions,
            )
        ]

    with ThreadPoolExecutor(WRITERS) as writers:
        statuses = [status for written in writers.map(write, range(WRITERS)) for status in written]

    assert statuses == ["stored"] * (WRITERS * 3 * len(orders))
    instances = postgres_store.flows(FlowFilter(), after=None, limit=100).items
    assert [sum(item.deliveries for item in each.evidence_set.items) for each in instances] == [3 * WRITERS] * 6


def test_a_refusal_finds_the_changed_instances_by_their_index(pool):
    """Also where the table was empty when Postgres planned the query."""
    with pool.connection() as connection, connection.transaction():
        before = connection.execute(SCANS).fetchone()
        for _ in range(2):
            with pytest.raises(psycopg.errors.SerializationFailure), connection.transaction():
                connection.execute("""SELECT assert_instances(0, 2, '["order", "order"]', '["ORD-1", "ORD-2"]')""")
        after = connection.execute(SCANS).fetchone()

    assert [now - earlier for now, earlier in zip(after, before, strict=True)] == [0, 4]
