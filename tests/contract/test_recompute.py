"""Verdicts anew, on every store: nothing changes while the rules stay, and else it is as if they had always been so."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.model.events import Delivery, EventFilter
from helios.model.flows import FlowFilter
from helios.reconciliation.declaration import Flow, Leg, Rule
from helios.services.ingest import ingest
from helios.services.recompute import recompute
from helios.services.reconciler import Reconciler
from helios.services.sweep import expire_flows
from tests.fakes.store import MemoryStore
from tests.support.deliveries import NOON
from tests.support.depth import examples
from tests.support.instances import ORDER, SHIPMENT, leg

NOW = NOON + timedelta(hours=1)
ALL = timedelta(days=365)
SAME_EVERY_TIME = settings(derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

LENIENT = replace(ORDER, rule=(Rule(equal=("order.amount", "payment.amount"), within="100"),))
DEEPER = replace(ORDER, rule=(Rule(equal=("order.parts.first", "payment.parts.first")),))
PATIENT = replace(ORDER, window_seconds=200)
HASTY = replace(ORDER, window_seconds=0.5, grace_seconds=0)
TWO_LEGS = replace(ORDER, leg=ORDER.leg[:2], rule=ORDER.rule[:2])
FOUR_LEGS = replace(ORDER, leg=(*ORDER.leg, Leg(name="parcel", type="ParcelHandedOver")))
WITHOUT_MONEY = replace(ORDER, amount=(), currency=())


def take_in(store, *deliveries: Delivery, flows: Sequence[Flow] = (ORDER,)) -> None:
    reconciler = Reconciler(flows)
    for number in range(0, len(deliveries), 3):
        ingest(deliveries[number : number + 3], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
    expire_flows(NOW, store=store, reconciler=reconciler)


def anew(store, *flows: Flow, **options):
    reconciler = Reconciler(flows)
    options = {"flow": None, "where": EventFilter()} | options
    found = recompute(now=NOW, reader=store, store=store, reconciler=reconciler, **options)
    if not options.get("dry_run"):
        expire_flows(NOW, store=store, reconciler=reconciler)
    return found


def kept(store, prefix: str = ""):
    """The rows, but for how often they were written."""
    rows = store.flows(FlowFilter(key=prefix or None), after=None, limit=500).items
    return [replace(row, version=0) for row in rows]


def sums(store):
    counts = store.flow_counts(None, since=NOON - ALL, until=NOON + ALL, bucket=2 * ALL)
    return {
        (one.flow, one.what, one.value): (one.instances, one.amount) for one in counts if one.instances or one.amount
    }


deliveries = st.lists(
    st.builds(
        leg,
        st.sampled_from(["order", "payment", "inventory"]),
        st.sampled_from(["ORD-1", "ORD-2"]),
        id_=st.sampled_from("123"),
        after=st.sampled_from([0.0, 1.0, 31.0, 120.0]),
        amount=st.sampled_from([10, 99]),
        currency=st.sampled_from(["EUR", "USD", None]),
        customer_id=st.sampled_from(["CUST-1", "CUST-2"]),
    ),
    max_size=12,
).map(lambda chosen: [*chosen, leg("order", "ORD-1"), leg("order", "ORD-2")])


@settings(SAME_EVERY_TIME, max_examples=examples(100, long=500))
@given(given=deliveries)
def test_right_after_traffic_nothing_changes(given):
    store = MemoryStore()
    take_in(store, *given)
    before = (kept(store), sums(store))

    assert anew(store, ORDER).changes == {}
    assert (kept(store), sums(store)) == before


@settings(SAME_EVERY_TIME, max_examples=examples(200, long=1000))
@given(given=deliveries, rules=st.sampled_from([LENIENT, PATIENT, HASTY, TWO_LEGS, FOUR_LEGS, WITHOUT_MONEY]))
def test_after_a_change_it_is_as_if_the_rules_had_always_been_so(given, rules):
    """Duplicates and contradictions included."""
    changed, fresh = MemoryStore(), MemoryStore()
    take_in(changed, *given)
    take_in(fresh, *given, flows=[rules])
    would_change = anew(changed, rules, dry_run=True).changes

    assert anew(changed, rules).changes == would_change
    assert (kept(changed), sums(changed)) == (kept(fresh), sums(fresh))
    assert anew(changed, rules).changes == {}


prefixes = count()


@settings(SAME_EVERY_TIME, max_examples=examples(15, long=75))
@given(given=deliveries, rules=st.sampled_from([LENIENT, PATIENT, TWO_LEGS]))
def test_so_it_is_in_postgres(given, rules, postgres_store):
    prefix = f"E{next(prefixes)}-"
    apart = [replace(one, body=one.body.replace(b"ORD-", f"{prefix}ORD-".encode())) for one in given]
    apart = [
        replace(one, headers={k: v.replace("ORD-", f"{prefix}ORD-") for k, v in one.headers.items()}) for one in apart
    ]
    fresh = MemoryStore()
    take_in(postgres_store, *apart)
    anew(postgres_store, rules)
    take_in(fresh, *apart, flows=[rules])

    assert kept(postgres_store, prefix) == kept(fresh)


def test_rules_that_read_what_was_no_evidence_find_it_in_the_events(store):
    """A field that lies deeper, a leg that nobody wanted, and a whole new flow."""
    take_in(store, leg("order", parts={"first": "a"}), leg("payment", parts={"first": "b"}), leg("inventory"))
    assert [row.status for row in kept(store)] == ["matched"]

    assert anew(store, DEEPER).changes == {("order", "ORD-1"): ("matched", "mismatched")}
    assert anew(store, FOUR_LEGS).changes == {("order", "ORD-1"): ("mismatched", "incomplete")}
    other = replace(ORDER, name="purchase")
    assert anew(store, FOUR_LEGS, other, SHIPMENT).changes == {("purchase", "ORD-1"): (None, "matched")}


def test_a_trial_writes_nothing(store):
    take_in(store, leg("order"), leg("payment", amount=20), leg("inventory"))
    before = (kept(store), sums(store))

    assert anew(store, LENIENT, dry_run=True).changes == {("order", "ORD-1"): ("mismatched", "matched")}
    assert (kept(store), sums(store)) == before


def test_a_period_and_a_flow_bound_it(store):
    for number in range(3):
        key, after = f"ORD-{number}", 600.0 * number
        take_in(
            store,
            leg("order", key, after=after),
            leg("payment", key, amount=20, after=after),
            leg("inventory", key, after=after),
        )

    assert anew(store, LENIENT, SHIPMENT, flow="shipment").changes == {}
    period = EventFilter(since=NOON + timedelta(minutes=5), until=NOON + timedelta(minutes=15))
    assert list(anew(store, LENIENT, where=period).changes) == [("order", "ORD-1")]


def test_what_is_only_counted_stays_counted_once(store):
    take_in(
        store, *(leg("payment", id_=str(number), amount=number, after=number) for number in range(12)), leg("order")
    )

    assert anew(store, ORDER).changes == {}


def test_beside_ingest_it_neither_deadlocks_nor_loses(postgres_store):
    """Batches of the same stories arrive while the rules go to and fro; in the end both agree."""
    orders = [f"ORD-{number}" for number in range(60)]
    take_in(postgres_store, *(leg("order", key, amount=20) for key in orders))

    def write(name: str) -> None:
        for start in range(0, 60, 10):
            batch = [leg(name, key) for key in orders[start : start + 10]]
            ingest(batch, dedupe=NullDedupeCache(), store=postgres_store, reconciler=Reconciler([ORDER]))

    def evaluator(_: int) -> None:
        for rules in (LENIENT, ORDER, LENIENT, ORDER):
            recompute(
                EventFilter(),
                NOW,
                flow=None,
                reader=postgres_store,
                store=postgres_store,
                reconciler=Reconciler([rules]),
            )

    with ThreadPoolExecutor(4) as threads:
        list(
            threads.map(
                lambda job: job[0](job[1]), [(evaluator, 0), (write, "payment"), (write, "inventory"), (evaluator, 1)]
            )
        )

    anew(postgres_store, ORDER)
    assert {row.status for row in kept(postgres_store)} == {"mismatched"}
    assert {one.deliveries for row in kept(postgres_store) for one in row.evidence_set.items} == {1}
    assert sums(postgres_store)["order", "status", "mismatched"][0] == 60
