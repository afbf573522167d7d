"""Balances in Postgres: published = stored + rejected + missing, by source, type and minute of the events' own time."""

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.balances import PostgresBalances, PostgresBalanceTurn
from helios.adapters.postgres.incidents import PostgresIncidents
from helios.adapters.postgres.stream import PostgresOutbox
from helios.model.balances import COUNTED_FOR, MANIFEST_TYPE, Balance, BalanceFilter
from helios.model.events import Delivery
from helios.model.incidents import Cause, IncidentFilter
from helios.normalise import normalise
from helios.services.balances import SETTLED_AFTER, BalanceJob
from helios.services.incidents import CALM, MAX_REASONS, IncidentJob
from helios.services.ingest import ingest
from helios.services.projection import arrivals_of
from helios.services.reconciler import Reconciler
from tests.support.deliveries import NOON
from tests.support.depth import examples
from tests.support.instances import ORDER, sent

GRACE = timedelta(seconds=60)
MINUTE = timedelta(minutes=1)
DUE = NOON + MINUTE + GRACE
TYPE = "OrderPlaced"
LOST = Cause(kind="drift", source="aws", type=TYPE)


class Killed(Exception):  # noqa: N818 - no error: the end of a process
    """Ends a run between two steps."""


class World:
    """A store, the job that counts, and the job that makes incidents of it."""

    def __init__(self, store, pool) -> None:
        self.store, self.pool = store, pool
        self.balances = PostgresBalances(pool)
        self.incidents = PostgresIncidents(pool)
        self.job = BalanceJob(self.balances, grace=GRACE)
        self.incident_job = IncidentJob(self.incidents, outbox=PostgresOutbox(pool), counts=store)

    def ingest(self, *deliveries: Delivery) -> list[str]:
        reconciler = Reconciler((ORDER,))
        outcomes = ingest(deliveries, dedupe=NullDedupeCache(), store=self.store, reconciler=reconciler)
        return [outcome.status for outcome in outcomes]

    def run(self, now: datetime) -> list[tuple[str, Cause]]:
        """Count, and return the transitions of incidents."""
        self.job.run(now)
        return [(transition.what, transition.incident.cause) for transition in self.incident_job.run(now)]

    def all(self, **where: Any) -> list[Balance]:
        return self.balances.balances(BalanceFilter(**where), after=None, limit=500).items

    def only(self) -> Balance:
        (balance,) = self.all()
        return balance

    def numbers(self) -> tuple[int | None, int, int, int, int, int]:
        each = self.only()
        return (each.published, each.stored, each.duplicate, each.rejected, each.missing, each.extra)

    def missing_of_incident(self) -> int:
        (incident,) = self.incidents.incidents(IncidentFilter(kind=("drift",)), after=None, limit=5).items
        return incident.number


@pytest.fixture
def world(postgres_store, pool) -> World:
    return World(postgres_store, pool)


def event(number: int, *, second: float = 1, delay: float = 0.1, **data: Any) -> Delivery:
    """An event that happened in the minute from noon on, ``second`` seconds after noon."""
    happened_at = NOON + timedelta(seconds=second)
    payload = {"order_id": f"ORD-{number}", "amount": 1} | data
    received_at = happened_at + timedelta(seconds=delay)
    return sent("eventbridge", TYPE, payload, id_=f"e-{number}", received_at=received_at, happened_at=happened_at)


def events(count: int, **fields: Any) -> list[Delivery]:
    return [event(number, second=number % 60, **fields) for number in range(count)]


def manifest(
    published: int, *, id_: str = "m-1", after: float = 61, minute: datetime = NOON, type_: str = TYPE, **data: Any
) -> Delivery:
    """A manifest that is sent ``after`` seconds after noon."""
    at = NOON + timedelta(seconds=after)
    counts = {"type": type_, "published": published} | {name: data.pop(name) for name in ("repeated",) if name in data}
    payload = {"minute": minute.isoformat(), "events": [counts], **data}
    return sent("eventbridge", MANIFEST_TYPE, payload, id_=id_, received_at=at, happened_at=at)


def unreadable(number: int) -> Delivery:
    """An event that can't be stored: its envelope is readable."""
    return replace(event(number), body=event(number).body.replace(b'"order_id"', b'"note":"\\u0000","order_id"'))


def test_what_was_published_and_stored_is_balanced(world):
    world.ingest(*events(60), manifest(60))

    assert world.run(DUE) == []
    assert (world.only().state, world.numbers()) == ("balanced", (60, 60, 0, 0, 0, 0))


def test_a_manifest_is_an_event_that_belongs_to_no_flow(world):
    assert world.ingest(manifest(1), manifest(1)) == ["stored", "duplicate"]
    with world.pool.connection() as connection:
        assert connection.execute("SELECT count(*) FROM events WHERE type = %s", [MANIFEST_TYPE]).fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM flow_instances").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM manifests").fetchone() == (1,)


def test_a_lost_event_is_an_incident_within_two_buckets_that_ends_when_the_event_arrives(world):
    world.ingest(*events(59), manifest(60))
    assert world.run(DUE - timedelta(seconds=1)) == []
    assert world.only().state == "counting"

    assert world.run(DUE) == [("opened", LOST)]
    assert (world.only().state, world.numbers(), world.missing_of_incident()) == ("missing", (60, 59, 0, 0, 1, 0), 1)

    world.ingest(event(59, second=59, delay=1800))
    arrived = NOON + timedelta(minutes=32)
    assert world.run(arrived) == []
    assert world.run(arrived + CALM) == [("resolved", LOST)]
    assert (world.only().state, world.numbers(), world.missing_of_incident()) == ("balanced", (60, 60, 0, 0, 0, 0), 0)


def test_a_source_that_loses_one_event_after_the_other_has_one_incident(world):
    """Each arrives late, before the next one is missing less than a minute later."""
    transitions = []
    for number in range(3):
        minute, at = NOON + number * MINUTE, DUE + number * 1.9 * CALM
        world.ingest(manifest(1, minute=minute, id_=f"m-{number}", after=61 + 60 * number))
        transitions += world.run(at)
        assert world.missing_of_incident() == 1
        second = 60 * number + 1
        arrived_after = (at - NOON).total_seconds() + 30
        world.ingest(event(number, second=second, delay=arrived_after - second))
        transitions += world.run(at + CALM)
        assert world.missing_of_incident() == 0

    assert transitions == [("opened", LOST)]


def test_an_incident_is_updated_in_place(world):
    world.ingest(*events(50), manifest(60), manifest(10, minute=NOON - MINUTE, id_="m-0", after=1))
    assert world.run(DUE) == [("opened", LOST)]
    assert world.missing_of_incident() == 20

    world.ingest(*[event(number, second=40, delay=90) for number in range(50, 57)])
    assert world.run(DUE + MINUTE) == []
    assert world.missing_of_incident() == 13


def test_rejected_events_have_arrived_and_duplicates_close_no_gap(world):
    world.ingest(*events(8), *events(3), unreadable(8), manifest(10))
    world.ingest(unreadable(8))  # the same delivery once more

    assert ("opened", LOST) in world.run(DUE)
    assert world.numbers() == (10, 8, 3, 1, 1, 0)


def test_what_a_producer_published_twice_is_expected_once(world):
    world.ingest(*events(10), *events(2), manifest(12, repeated=2))
    world.run(DUE)

    assert (world.only().state, world.numbers()) == ("balanced", (12, 10, 2, 0, 0, 0))


def test_more_events_than_were_published_are_shown(world):
    world.ingest(*events(10), manifest(8))

    assert world.run(DUE) == []
    assert (world.only().state, world.numbers()) == ("extra", (8, 10, 0, 0, 0, 2))


def test_publishers_add_up_and_other_producers_do_not_count(world):
    other = replace(event(99), body=event(99).body.replace(b'"source":"shop"', b'"source":"other"'))
    world.ingest(*events(10), other, manifest(6, publisher="pod-1"), manifest(5, publisher="pod-2", id_="m-2"))
    world.run(DUE)

    assert world.numbers() == (11, 10, 0, 0, 1, 0)


def test_a_manifest_may_name_another_producer(world):
    world.ingest(*events(2), manifest(2, producer="shop/1/eu"))
    world.run(DUE)

    assert (world.only().state, world.numbers()) == ("balanced", (2, 2, 0, 0, 0, 0))


def test_an_advisory_count_is_shown_and_opens_no_incident(world):
    world.ingest(*events(3), manifest(5, advisory=True))

    assert world.run(DUE) == []
    assert (world.only().state, world.only().advisory, world.only().stored) == ("advisory", 5, 3)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_greatest_revision_counts_in_any_order_of_arrival(world, order):
    versions = [
        manifest(7, id_="m-a", after=90),
        manifest(5, id_="m-b", after=70, revision=1),
        manifest(6, id_="m-c", after=80, revision=1),
    ]
    for place in order:
        world.ingest(versions[place])
        world.run(NOON + 2 * MINUTE - timedelta(seconds=1))
    world.run(DUE)

    assert world.only().published == 6


def test_a_correction_ends_what_a_wrong_manifest_began(world):
    world.ingest(*events(5), manifest(6))
    assert world.run(DUE) == [("opened", LOST)]
    world.ingest(manifest(5, id_="m-2", after=150, revision=1))

    assert world.run(DUE + CALM) == []
    assert world.run(DUE + 2 * CALM) == [("resolved", LOST)]
    assert world.only().state == "balanced"


@pytest.mark.parametrize("skew", [-2, 2])
def test_two_seconds_of_skew_of_the_clock_that_stamps_events_and_manifests_are_no_alarm(world, skew):
    """The producer's clock is wrong: events and manifests arrive earlier or later than their times say."""
    deliveries = [*events(60), manifest(60)]
    world.ingest(*[replace(each, received_at=each.received_at - timedelta(seconds=skew)) for each in deliveries])

    assert world.run(DUE) == []
    assert world.only().state == "balanced"


@pytest.mark.parametrize("skew", [-2, 2])
def test_two_seconds_between_the_count_and_the_time_of_events_are_no_alarm_if_the_manifest_says_so(world, skew):
    """The cloud stamps the events, and the producer counts by a clock that differs by two seconds."""
    stamped = [event(number, second=number + skew) for number in range(60)]
    world.ingest(*stamped, manifest(60, skew_seconds=2))
    assert world.run(DUE) == []

    world.ingest(manifest(66, skew_seconds=2, id_="m-2", after=130, revision=1))
    assert world.run(DUE + MINUTE) == [("opened", LOST)]
    assert world.only().missing == 6


def test_a_manifest_of_a_minute_long_ago_is_balanced(world):
    world.ingest(*events(9), manifest(10, after=4 * 3600))

    assert world.run(NOON + timedelta(hours=4, seconds=1)) == [("opened", LOST)]
    assert world.numbers() == (10, 9, 0, 0, 1, 0)


def test_after_a_day_nothing_is_counted_any_more(world):
    world.ingest(*events(9), manifest(10))
    assert world.run(DUE) == [("opened", LOST)]
    world.run(NOON + COUNTED_FOR + MINUTE)
    world.ingest(
        event(9, delay=COUNTED_FOR.total_seconds() + 300),
        manifest(1, after=COUNTED_FOR.total_seconds() + 300, id_="m-2", type_="OrderShipped"),
    )

    transitions = world.run(NOON + COUNTED_FOR + timedelta(minutes=10))

    assert transitions == [("resolved", LOST)]
    assert {(each.type, each.state, each.missing) for each in world.all()} == {
        (TYPE, "missing", 1),
        ("OrderShipped", "uncounted", 0),
    }


def test_one_manifest_carries_several_types(world):
    counts = [{"type": TYPE, "published": 2}, {"type": "OrderShipped", "published": 1}]
    at = NOON + timedelta(seconds=61)
    payload = {"minute": "2025-11-26T12:00:00Z", "events": counts}
    world.ingest(*events(2), sent("eventbridge", MANIFEST_TYPE, payload, id_="m", received_at=at, happened_at=at))

    assert world.run(DUE) == [("opened", Cause(kind="drift", source="aws", type="OrderShipped"))]
    assert {(each.type, each.state) for each in world.all()} == {(TYPE, "balanced"), ("OrderShipped", "missing")}
    assert [each.type for each in world.all(state=("missing",))] == ["OrderShipped"]


def test_further_types_share_one_incident_which_ends_as_the_others_do(world):
    """A producer may name types without end."""
    names = [f"T{number:03}" for number in range(MAX_REASONS + 5)]
    world.ingest(*[manifest(1, type_=name, id_=name) for name in names])
    assert len(world.run(DUE)) == MAX_REASONS + 1

    world.ingest(*[manifest(0, type_=name, id_=f"{name}-2", revision=1, after=150) for name in names])
    assert world.run(DUE + CALM) == []
    assert len(world.run(DUE + 2 * CALM)) == MAX_REASONS + 1


@pytest.mark.parametrize("step", ["count", "balance", "report"])
def test_a_run_that_is_killed_between_two_steps_is_done_by_the_next_one(world, monkeypatch, step):
    world.ingest(*events(9), manifest(10))

    def fail(self, *_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(PostgresBalanceTurn, step, fail)
    with pytest.raises(Killed):
        world.job.run(DUE)
    monkeypatch.undo()
    assert world.only().counted_at is None

    assert world.run(DUE) == [("opened", LOST)]
    assert (world.numbers(), world.missing_of_incident()) == ((10, 9, 0, 0, 1, 0), 1)


def test_an_event_that_becomes_visible_minutes_after_its_receipt_is_counted(world):
    """Its transaction was slow: the events received before and after it were counted meanwhile."""
    world.ingest(*events(9), manifest(10))
    world.run(DUE)
    world.run(DUE + SETTLED_AFTER / 2)
    world.ingest(event(9, second=59))
    world.run(DUE + SETTLED_AFTER / 2 + MINUTE)

    assert (world.only().state, world.only().stored) == ("balanced", 10)


def test_two_runs_at_once_count_once(world):
    world.ingest(*events(9), manifest(10))
    with world.balances.turn():
        world.job.run(DUE)
        assert world.all() == []
    world.run(DUE)

    assert world.missing_of_incident() == 1


def _deliveries() -> list[Delivery]:
    """Events with a loss, repetitions and a rejection, and manifests of two publishers, one of them corrected."""
    return [
        *events(6),
        *events(2),
        unreadable(7),
        manifest(4, publisher="a", id_="m-1"),
        manifest(5, publisher="a", id_="m-2", revision=1),
        manifest(4, publisher="b", id_="m-3", after=62),
    ]


@settings(
    max_examples=examples(15, long=300),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(order=st.permutations(_deliveries()), cuts=st.sets(st.integers(1, 11)), counted=st.booleans())
def test_any_order_and_batching_gives_the_same_balance(new_world, order: Sequence[Delivery], cuts: set[int], counted):
    world = new_world()
    edges = [0, *sorted(cuts), len(order)]
    for first, last in itertools.pairwise(edges):
        world.ingest(*order[first:last])
        if counted:
            world.run(DUE - timedelta(seconds=1))
    world.run(DUE)

    assert world.numbers() == (9, 6, 2, 1, 2, 0)
    assert world.missing_of_incident() == 2


def arrive(world, *deliveries: Delivery) -> None:
    """Count events that Postgres does not store, as the projector does."""
    arrivals = arrivals_of([normalise(delivery) for delivery in deliveries])
    with world.store.transaction() as work:
        work.balances.arrive(arrivals)


@pytest.mark.parametrize(("skew", "stored"), [(0, 3), (2, 5), (1, 4)])
@pytest.mark.parametrize("stores_events", [True, False])
def test_events_of_the_archive_only_are_balanced_as_those_in_postgres(world, stores_events, skew, stored):
    seconds = (-1.5, 0, 59.999, 59.999, 60.9)
    arrived = [event(number, second=second) for number, second in enumerate(seconds)]
    store = world.ingest if stores_events else partial(arrive, world)
    store(*arrived)
    world.ingest(manifest(5, skew_seconds=skew))
    world.run(DUE)
    assert world.only().missing == 5 - stored


def test_an_event_of_the_archive_only_that_arrives_late_closes_the_gap(world):
    arrive(world, *events(59))
    world.ingest(manifest(60))
    assert world.run(DUE) == [("opened", LOST)]
    arrive(world, event(59, second=59, delay=500))
    world.run(DUE + 10 * MINUTE)
    assert world.numbers() == (60, 60, 0, 0, 0, 0)


def test_counts_of_arrivals_are_removed_when_no_balance_needs_them(world):
    arrive(world, event(1))
    world.run(NOON + COUNTED_FOR)
    world.run(NOON + COUNTED_FOR + timedelta(minutes=11))
    with world.pool.connection() as connection:
        assert connection.execute("SELECT count(*) FROM event_arrivals").fetchone() == (1,)
    world.ingest(manifest(1, minute=NOON + COUNTED_FOR))
    world.run(NOON + COUNTED_FOR + timedelta(minutes=12))
    with world.pool.connection() as connection:
        assert connection.execute("SELECT count(*) FROM event_arrivals").fetchone() == (0,)


@pytest.fixture
def new_world(world):
    """Empties the tables for each example."""

    def empty() -> World:
        tables = (
            "events, event_ids, dead_letters, manifests, balances, event_repeats, incidents, incident_deltas, frames"
        )
        with world.pool.connection() as connection:
            connection.execute(f"TRUNCATE {tables}, flow_instances CASCADE")
        return world

    return empty
