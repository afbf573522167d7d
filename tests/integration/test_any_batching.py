"""However deliveries are ordered, repeated, cut into batches and hinted at by Redis: each fact comes out once."""

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
from tests.support.deliveries import NOON, eventbridge, eventgrid, poison
from tests.support.depth import examples

SAME_EVERY_TIME = settings(derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Sent(NamedTuple):
    """A delivery by what matters here: equal keys with other content contradict each other."""

    source: str
    id: str
    content: int

    @property
    def key(self) -> Key:
        return ("aws" if self.source == "aws" else "azure", self.id)

    def delivery(self) -> Delivery:
        match self.source:
            case "aws":
                return eventbridge(self.id, detail={"content": self.content})
            case "azure":
                return eventgrid(self.id, data={"content": self.content})
        return poison(b"{" * (1 + self.content))


class WilfulDedupeCache(MemoryDedupeCache):
    """Recalls what it likes: too little after a restart of Redis, too much after a restore of the database."""

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


def one_by_one(sent: Sequence[Sent]) -> tuple[list[str], dict[Key, Sent]]:
    """What must become of each delivery, and what is believed in the end: the first of a key wins."""
    believed: dict[Key, Sent] = {}
    statuses = []
    for one in sent:
        if one.source == "nowhere":
            statuses.append("rejected")
        elif one.key not in believed:
            believed[one.key] = one
            statuses.append("stored")
        else:
            statuses.append("duplicate" if one == believed[one.key] else "contradictory")
    return statuses, believed


def in_batches(sent: Sequence[Sent], cut_at: set[int], *, dedupe, store) -> list[str]:
    """Take everything in, and return what became of each delivery."""
    edges = sorted({0, len(sent), *(cut for cut in cut_at if cut < len(sent))})
    batches = [sent[start:end] for start, end in pairwise(edges)]
    return [
        outcome.status
        for batch in batches
        for outcome in ingest([one.delivery() for one in batch], dedupe=dedupe, store=store)
    ]


def counts(store) -> Counter[str]:
    totals = store.totals(NOON)
    return Counter({name: getattr(totals, name) for name in ("stored", "duplicate", "contradictory", "rejected")})


def facts(store) -> dict[Key, bytes]:
    """The stored events by what they say."""
    return {event.key: bytes(event.data) for event in store.events(EventFilter(), after=None, limit=500).items}


@settings(SAME_EVERY_TIME, max_examples=examples(200, long=1000))
@given(sent=anything, cut_at=cuts, random=randoms)
def test_batches_and_hints_change_nothing(sent, cut_at, random):
    store = MemoryStore()
    statuses, believed = one_by_one(sent)

    assert in_batches(sent, cut_at, dedupe=WilfulDedupeCache(random), store=store) == statuses
    assert facts(store) == {key: b'{"content": %d}' % one.content for key, one in believed.items()}
    assert counts(store) == Counter(statuses)
    for status in ("rejected", "contradictory"):
        kept = store.dead_letters(DeadLetterFilter(status=status), after=None, limit=500).items
        assert sum(dead.dead_letter.attempts for dead in kept) == statuses.count(status)
    streamed = [event.key for batch in MemoryOutbox(store).events(after=0, limit=500) for event in batch.events]
    assert sorted(streamed) == sorted(believed)


@settings(SAME_EVERY_TIME, max_examples=examples(40, long=200))
@given(sent=anything, cut_at=cuts, random=randoms)
def test_nor_do_they_in_postgres(sent, cut_at, random, postgres_store, records):
    """Each example has ids of its own, in a database that fills."""
    prefix = next(prefixes)
    sent = [one._replace(id=f"{prefix}-{one.id}") for one in sent]
    statuses, believed = one_by_one(sent)
    before = counts(postgres_store)

    assert in_batches(sent, cut_at, dedupe=WilfulDedupeCache(random), store=postgres_store) == statuses
    for key, one in believed.items():
        assert bytes(postgres_store.event(key).data) == b'{"content": %d}' % one.content
    assert counts(postgres_store) == before + Counter(statuses)
    records.assert_exact()


@settings(SAME_EVERY_TIME, max_examples=examples(100, long=500))
@given(sent=agreeing, cut_at=cuts, other_cuts=cuts, random=randoms)
def test_order_changes_nothing_among_senders_that_agree(sent, cut_at, other_cuts, random):
    shuffled = random.sample(sent, len(sent))
    one, other = MemoryStore(), MemoryStore()
    in_batches(sent, cut_at, dedupe=NullDedupeCache(), store=one)
    in_batches(shuffled, other_cuts, dedupe=NullDedupeCache(), store=other)

    assert facts(one) == facts(other)
    assert counts(one) == counts(other)


@settings(SAME_EVERY_TIME, max_examples=examples(100, long=500))
@given(sent=anything, random=randoms)
def test_order_decides_no_more_than_whom_to_believe(sent, random):
    """Among contradictions the first wins; how many facts there are, and that each delivery is counted, stays."""
    shuffled = random.sample(sent, len(sent))
    one, other = MemoryStore(), MemoryStore()
    in_batches(sent, set(), dedupe=NullDedupeCache(), store=one)
    in_batches(shuffled, set(), dedupe=NullDedupeCache(), store=other)

    assert facts(one).keys() == facts(other).keys()
    for store in (one, other):
        assert counts(store).total() == len(sent)
    assert counts(one)["stored"] == counts(other)["stored"]
    assert counts(one)["rejected"] == counts(other)["rejected"]
