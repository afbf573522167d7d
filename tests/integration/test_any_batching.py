"""Whatever the order, repetition and batches of deliveries and the answers of Redis: each event is stored once."""

from collections import Counter
from collections.abc import Sequence
from itertools import count, pairwise
from random import Random
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helios.adapters.no_dedupe import NullDedupeCache
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import Delivery, EventFilter, Key
from helios.services.ingest import ingest
from tests.fakes.store import MemoryDedupeCache, MemoryOutbox, MemoryStore
from tests.support.deliveries import NOON, aws_key, azure_key, eventbridge, eventgrid, poison
from tests.support.depth import examples

SAME_EVERY_TIME = settings(derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Sent(NamedTuple):
    """A delivery as its source, id and content: two with equal keys and different content contradict each other."""

    source: str
    id: str
    content: int

    @property
    def key(self) -> Key:
        return aws_key(self.id) if self.source == "aws" else azure_key(self.id)

    def delivery(self) -> Delivery:
        match self.source:
            case "aws":
                return eventbridge(self.id, detail={"content": self.content})
            case "azure":
                return eventgrid(self.id, data={"content": self.content})
        return poison(b"{" * (1 + self.content))


class UnreliableDedupeCache(MemoryDedupeCache):
    """Returns random keys: too few, as after a restart of Redis, or too many, as after a restore of the database."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    def lookup(self, keys):
        return {key for key in sorted(keys) if self._random.random() < 0.5}


# Few ids and two contents: most lists hold duplicates, contradictions, and one id from two clouds.
deliveries = st.builds(Sent, st.sampled_from(["aws", "azure", "nowhere"]), st.sampled_from("123"), st.integers(0, 1))
anything = st.lists(deliveries, max_size=20)
agreeing = st.lists(deliveries.map(lambda sent: sent._replace(content=0)), max_size=20)
cuts = st.sets(st.integers(0, 20))
randoms = st.randoms(use_true_random=False)
prefixes = count()


def expected_results(sent: Sequence[Sent]) -> tuple[list[str], dict[Key, Sent]]:
    """The expected status of each delivery, and the expected events by key: the first delivery of a key is stored."""
    expected: dict[Key, Sent] = {}
    statuses = []
    for delivery in sent:
        if delivery.source == "nowhere":
            statuses.append("rejected")
        elif delivery.key not in expected:
            expected[delivery.key] = delivery
            statuses.append("stored")
        else:
            statuses.append("duplicate" if delivery == expected[delivery.key] else "contradictory")
    return statuses, expected


def in_batches(sent: Sequence[Sent], cut_at: set[int], *, dedupe, store) -> list[str]:
    """Ingest the deliveries in batches, and return the status of each delivery."""
    bounds = sorted({0, len(sent), *(cut for cut in cut_at if cut < len(sent))})
    batches = [sent[start:end] for start, end in pairwise(bounds)]
    return [
        outcome.status
        for batch in batches
        for outcome in ingest([delivery.delivery() for delivery in batch], dedupe=dedupe, store=store)
    ]


def counts(store) -> Counter[str]:
    totals = store.totals(NOON)
    return Counter({name: getattr(totals, name) for name in ("stored", "duplicate", "contradictory", "rejected")})


def stored_data(store) -> dict[Key, bytes]:
    """The data of each stored event by its key."""
    return {event.key: bytes(event.data) for event in store.events(EventFilter(), after=None, limit=500).items}


@settings(SAME_EVERY_TIME, max_examples=examples(200, long=1000))
@given(sent=anything, cut_at=cuts, random=randoms)
def test_batches_and_the_dedupe_cache_do_not_change_the_result(sent, cut_at, random):
    store = MemoryStore()
    statuses, expected = expected_results(sent)

    assert in_batches(sent, cut_at, dedupe=UnreliableDedupeCache(random), store=store) == statuses
    assert stored_data(store) == {key: b'{"content": %d}' % delivery.content for key, delivery in expected.items()}
    assert counts(store) == Counter(statuses)
    for status in ("rejected", "contradictory"):
        dead_letters = store.dead_letters(DeadLetterFilter(status=status), after=None, limit=500).items
        assert sum(stored.dead_letter.attempts for stored in dead_letters) == statuses.count(status)
    streamed = [event.key for batch in MemoryOutbox(store).events(after=0, limit=500) for event in batch.events]
    assert sorted(streamed) == sorted(expected)


@settings(SAME_EVERY_TIME, max_examples=examples(40, long=200))
@given(sent=anything, cut_at=cuts, random=randoms)
def test_batches_and_the_dedupe_cache_do_not_change_the_result_in_postgres(
    sent, cut_at, random, postgres_store, records
):
    """Each example has its own ids, because the database is not emptied between examples."""
    prefix = next(prefixes)
    sent = [delivery._replace(id=f"{prefix}-{delivery.id}") for delivery in sent]
    statuses, expected = expected_results(sent)
    before = counts(postgres_store)

    assert in_batches(sent, cut_at, dedupe=UnreliableDedupeCache(random), store=postgres_store) == statuses
    for key, delivery in expected.items():
        assert bytes(postgres_store.event(key).data) == b'{"content": %d}' % delivery.content
    assert counts(postgres_store) == before + Counter(statuses)
    records.assert_exact()


@settings(SAME_EVERY_TIME, max_examples=examples(100, long=500))
@given(sent=agreeing, cut_at=cuts, other_cuts=cuts, random=randoms)
def test_the_order_of_consistent_deliveries_does_not_change_the_result(sent, cut_at, other_cuts, random):
    shuffled = random.sample(sent, len(sent))
    first, second = MemoryStore(), MemoryStore()
    in_batches(sent, cut_at, dedupe=NullDedupeCache(), store=first)
    in_batches(shuffled, other_cuts, dedupe=NullDedupeCache(), store=second)

    assert stored_data(first) == stored_data(second)
    assert counts(first) == counts(second)


@settings(SAME_EVERY_TIME, max_examples=examples(100, long=500))
@given(sent=anything, random=randoms)
def test_the_order_of_deliveries_decides_only_which_content_is_stored(sent, random):
    """Of contradictory deliveries the first is stored; the number of events and of counted deliveries is the same."""
    shuffled = random.sample(sent, len(sent))
    first, second = MemoryStore(), MemoryStore()
    in_batches(sent, set(), dedupe=NullDedupeCache(), store=first)
    in_batches(shuffled, set(), dedupe=NullDedupeCache(), store=second)

    assert stored_data(first).keys() == stored_data(second).keys()
    for store in (first, second):
        assert counts(store).total() == len(sent)
    assert counts(first)["stored"] == counts(second)["stored"]
    assert counts(first)["rejected"] == counts(second)["rejected"]
