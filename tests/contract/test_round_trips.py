"""How often a batch waits for Postgres, which may be 20 ms away."""

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.services.hints import Assumptions, RecentKeys, RecentRecords
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from tests.fakes.store import MemoryDedupeCache
from tests.support.deliveries import eventbridge
from tests.support.instances import ORDER, leg
from tests.support.round_trips import counting


@pytest.fixture
def dedupe():
    """The cache of keys."""
    return MemoryDedupeCache()


@pytest.fixture
def assumptions() -> Assumptions:
    """What the function remembers."""
    return Assumptions()


@pytest.fixture
def another_process_stored(dedupe, assumptions):
    """A function after whose call neither the cache nor this process knows what is stored."""

    def forget() -> None:
        dedupe.keys.clear()
        assumptions.recent, assumptions.recent_records = RecentKeys(), RecentRecords()

    return forget


@pytest.fixture
def distant(pool, database_url, dedupe, assumptions):
    """A function that ingests over a counting proxy, and returns the number of waits and the statuses."""
    database = conninfo_to_dict(database_url)
    reconciler = Reconciler([ORDER])
    with counting(str(database["host"]), int(database["port"] or 5432)) as proxy:
        url = make_conninfo(database_url, host="127.0.0.1", port=proxy.port)
        with open_pool(url, connections=1, timeout_seconds=30) as distant_pool:
            distant_pool.timeout = 60
            store = PostgresStore(distant_pool)

            def send(*deliveries):
                before = proxy.trips
                outcomes = ingest(
                    deliveries, dedupe=dedupe, store=store, reconciler=reconciler, assumptions=assumptions
                )
                return proxy.trips - before, [outcome.status for outcome in outcomes]

            send(eventbridge("first"))  # opens the connection
            yield send


def test_a_batch_of_which_nothing_is_known_waits_once(distant):
    assert distant(leg("order", "ORD-1")) == (1, ["stored"])
    assert distant(leg("order", "ORD-2"), leg("payment", "ORD-2"), leg("payment", "ORD-3")) == (1, ["stored"] * 3)
    assert distant(*(leg("order", f"ORD-{number}") for number in range(4, 40))) == (1, ["stored"] * 36)


def test_a_batch_without_flow_instances_waits_once(distant):
    """The frame names what was stored."""
    assert distant(eventbridge("1", type_="Unknown")) == (1, ["stored"])


def test_a_further_leg_waits_twice(distant):
    """The cache knows the order. One wait reads it, and the other writes it."""
    distant(leg("order", "ORD-1"))

    assert distant(leg("payment", "ORD-1"), leg("order", "ORD-2")) == (2, ["stored", "stored"])


def test_a_further_leg_of_an_order_that_the_process_has_stored_waits_once(distant):
    distant(leg("order", "ORD-1"))

    assert distant(leg("payment", "ORD-1")) == (1, ["stored"])
    assert distant(leg("inventory", "ORD-1")) == (1, ["stored"])


def test_a_further_leg_of_an_order_that_another_process_has_changed_waits_twice(distant, pool):
    """The refusal has what is stored."""
    distant(leg("order", "ORD-1"))
    ingest(
        [leg("payment", "ORD-1")],
        dedupe=MemoryDedupeCache(),
        store=PostgresStore(pool),
        reconciler=Reconciler([ORDER]),
    )

    assert distant(leg("inventory", "ORD-1")) == (2, ["stored"])


def test_a_wrong_hint_costs_a_second_attempt(distant, another_process_stored):
    """The cache has lost the order: the attempt to store it as a new one fails, and its refusal has what is stored."""
    distant(leg("order", "ORD-1"))
    another_process_stored()

    assert distant(leg("payment", "ORD-1")) == (2, ["stored"])


def test_an_order_that_the_cache_has_lost_is_expected_again(distant, another_process_stored):
    """After a wrong hint the next batch reads first."""
    distant(leg("order", "ORD-1"), leg("order", "ORD-2"))
    another_process_stored()
    distant(leg("payment", "ORD-1"))

    assert distant(leg("payment", "ORD-2")) == (2, ["stored"])


def test_a_large_batch_waits_five_times(distant):
    """It begins each half before it waits for the other."""
    trips, statuses = distant(*(leg("order", f"ORD-{number}") for number in range(100)))
    assert (trips <= 5, statuses) == (True, ["stored"] * 100)


def test_a_contradiction_waits_four_times(distant):
    distant(eventbridge("1", type_="Unknown"))

    trips, statuses = distant(eventbridge("1", type_="Other"))
    assert (trips <= 4, statuses) == (True, ["contradictory"])


def test_a_duplicate_waits_once_more(distant):
    distant(leg("order", "ORD-1"))

    assert distant(leg("order", "ORD-1")) == (3, ["duplicate"])


def test_a_duplicate_that_the_cache_has_lost_waits_five_times_at_most(distant, another_process_stored):
    distant(leg("order", "ORD-1"))
    another_process_stored()

    trips, statuses = distant(leg("order", "ORD-1"))
    assert (trips <= 5, statuses) == (True, ["duplicate"])
