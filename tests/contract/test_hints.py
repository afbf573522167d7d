"""What a process knows of a batch before it asks Postgres."""

import pytest

from helios.services import hints as module
from helios.services.hints import MAX_PAUSE, MIN_RIGHT, Assumption, Assumptions, RecentKeys
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from tests.fakes.store import MemoryDedupeCache
from tests.support.instances import ORDER, leg


class CountingCache(MemoryDedupeCache):
    """Counts how often it is asked."""

    lookups = 0

    def lookup(self, keys):
        self.lookups += 1
        return super().lookup(keys)


class Process:
    """A process that stores batches, with a memory of its own."""

    def __init__(self, store, dedupe: CountingCache) -> None:
        self._store = store
        self._dedupe = dedupe
        self._assumptions = Assumptions()
        self._reconciler = Reconciler([ORDER])

    def send(self, *deliveries) -> tuple[list[str], int]:
        """The statuses, and how often the cache was asked."""
        before = self._dedupe.lookups
        outcomes = ingest(
            deliveries,
            dedupe=self._dedupe,
            store=self._store,
            reconciler=self._reconciler,
            assumptions=self._assumptions,
        )
        return [outcome.status for outcome in outcomes], self._dedupe.lookups - before


@pytest.fixture
def cache() -> CountingCache:
    """The cache that all processes share."""
    return CountingCache()


@pytest.fixture
def confident(store, cache) -> Process:
    """A process that knows as much as the cache, and has noticed it."""
    process = Process(store, cache)
    for number in range(MIN_RIGHT):
        assert process.send(leg("order", f"FIRST-{number}")) == (["stored"], 1)
    return process


def test_a_process_that_stores_everything_does_not_ask_the_cache(confident, store):
    assert confident.send(leg("order")) == (["stored"], 0)
    assert confident.send(leg("payment")) == (["stored"], 0)
    assert store.flow(("order", "ORD-1")).version == 2
    assert confident.send(leg("order")) == (["duplicate"], 0)


def test_the_cache_gets_what_such_a_process_stores(confident, store, cache):
    confident.send(leg("order"))

    assert Process(store, cache).send(leg("order")) == (["duplicate"], 1)
    assert ("order", "ORD-1") in cache.keys


def test_a_further_leg_builds_on_what_another_process_has_stored_since(confident, store, cache):
    confident.send(leg("order"))
    Process(store, cache).send(leg("payment"))

    assert confident.send(leg("inventory")) == (["stored"], 0)
    instance = store.flow(("order", "ORD-1"))
    assert (instance.status, instance.version, len(instance.evidence_set.items)) == ("matched", 3, 3)


@pytest.mark.parametrize("begun_again", [False, True])
def test_an_order_that_was_removed_meanwhile_begins_again(postgres_store, pool, cache, begun_again):
    """As by an erasure: what the process remembers of it is not stored again, even if its version is."""
    process = Process(postgres_store, cache)
    process.send(leg("order"))
    with pool.connection() as connection:
        connection.execute("DELETE FROM flow_instances")
    if begun_again:
        Process(postgres_store, CountingCache()).send(leg("inventory", after=5))

    assert process.send(leg("payment"))[0] == ["stored"]
    instance = postgres_store.flow(("order", "ORD-1"))
    assert len(instance.evidence_set.items) == 1 + begun_again


def test_an_order_that_another_process_has_stored_is_found_and_the_cache_asked_again(confident, store, cache):
    Process(store, cache).send(leg("order"))

    assert confident.send(leg("payment")) == (["stored"], 0)
    assert confident.send(leg("order", "ORD-2")) == (["stored"], 1)
    assert store.flow(("order", "ORD-1")).version == 2


def test_a_duplicate_of_another_process_is_found_and_the_cache_asked_again(confident, store, cache):
    Process(store, cache).send(leg("order"))

    assert confident.send(leg("order")) == (["duplicate"], 0)
    assert confident.send(leg("order", "ORD-2")) == (["stored"], 1)


def test_a_process_whose_orders_others_store_too_keeps_asking(store, cache):
    """As a function of one cloud does: it stores one leg of each order."""
    first, second = Process(store, cache), Process(store, cache)
    asked = 0
    for number in range(40):
        first.send(leg("order", f"ORD-{number}"))
        statuses, lookups = second.send(leg("payment", f"ORD-{number}"))
        assert statuses == ["stored"]
        asked += lookups
    assert asked == 40


def test_a_process_remembers_a_bounded_number_of_keys(monkeypatch):
    monkeypatch.setattr(module, "RECENT_KEYS", 10)
    recent, keys = RecentKeys(), [("aws", "shop", str(number)) for number in range(100)]
    for key in keys:
        recent.add([key])

    remembered = recent.among(keys)
    assert remembered == set(keys[-len(remembered) :])
    assert 10 <= len(remembered) <= 20


def test_a_large_batch_asks_the_cache(confident):
    assert confident.send(*(leg("order", f"ORD-{number}") for number in range(100)))[1] == 1


def test_an_assumption_that_fails_is_made_less_often():
    assumption, made = Assumption(), 0
    for _ in range(1000):
        if assumption.is_worth_it():
            made += 1
            assumption.learn(was_right=False)
    assert 1000 // (MAX_PAUSE + 1) <= made <= 25


def test_an_assumption_that_holds_again_is_made_again():
    assumption = Assumption()
    for _ in range(100):
        if assumption.is_worth_it():
            assumption.learn(was_right=False)
    made = 0
    for _ in range(200):
        if assumption.is_worth_it():
            made += 1
            assumption.learn(was_right=True)
    assert made > 100
