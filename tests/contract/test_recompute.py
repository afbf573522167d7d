"""Recompute on every store: unchanged rules change nothing, and changed rules act as if they had always applied."""

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
from helios.reconciliation.declaration import Flow
from helios.reconciliation.leg import Leg
from helios.reconciliation.rule import Rule
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


def ingest_all(store, *deliveries: Delivery, flows: Sequence[Flow] = (ORDER,)) -> None:
    reconciler = Reconciler(flows)
    for number in range(0, len(deliveries), 3):
        ingest(deliveries[number : number + 3], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
    expire_flows(NOW, store=store, reconciler=reconciler)


def recompute_with(store, *flows: Flow, **options):
    reconciler = Reconciler(flows)
    options = {"flow": None, "where": EventFilter()} | options
    recomputed = recompute(now=NOW, reader=store, store=store, reconciler=reconciler, **options)
    if not options.get("dry_run"):
        expire_flows(NOW, store=store, reconciler=reconciler)
    return recomputed


def rows_of(store, prefix: str = ""):
    """The rows without their versions."""
    rows = store.flows(FlowFilter(key=prefix or None), after=None, limit=500).items
    return [replace(row, version=0) for row in rows]


def sums(store):
    counts = store.flow_counts(None, since=NOON - ALL, until=NOON + ALL, bucket=2 * ALL)
    return {
        (each.flow, each.what, each.value): (each.instances, each.amount)
        for each in counts
        if each.instances or each.amount
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
@given(chosen=deliveries)
def test_a_recompute_with_unchanged_rules_changes_nothing(chosen):
    store = MemoryStore()
    ingest_all(store, *chosen)
    before = (rows_of(store), sums(store))

    assert recompute_with(store, ORDER).changes == {}
    assert (rows_of(store), sums(store)) == before


@settings(SAME_EVERY_TIME, max_examples=examples(200, long=1000))
@given(chosen=deliveries, rules=st.sampled_from([LENIENT, PATIENT, HASTY, TWO_LEGS, FOUR_LEGS, WITHOUT_MONEY]))
def test_changed_rules_act_as_if_they_had_always_applied(chosen, rules):
    """This includes duplicates and contradictions."""
    changed, fresh = MemoryStore(), MemoryStore()
    ingest_all(changed, *chosen)
    ingest_all(fresh, *chosen, flows=[rules])
    would_change = recompute_with(changed, rules, dry_run=True).changes

    assert recompute_with(changed, rules).changes == would_change
    assert (rows_of(changed), sums(changed)) == (rows_of(fresh), sums(fresh))
    assert recompute_with(changed, rules).changes == {}


prefixes = count()


@settings(SAME_EVERY_TIME, max_examples=examples(15, long=75))
@given(chosen=deliveries, rules=st.sampled_from([LENIENT, PATIENT, TWO_LEGS]))
def test_changed_rules_act_in_postgres_as_if_they_had_always_applied(chosen, rules, postgres_store):
    prefix = f"E{next(prefixes)}-"
    renamed = [replace(delivery, body=delivery.body.replace(b"ORD-", f"{prefix}ORD-".encode())) for delivery in chosen]
    renamed = [
        replace(one, headers={k: v.replace("ORD-", f"{prefix}ORD-") for k, v in one.headers.items()}) for one in renamed
    ]
    fresh = MemoryStore()
    ingest_all(postgres_store, *renamed)
    recompute_with(postgres_store, rules)
    ingest_all(fresh, *renamed, flows=[rules])

    assert rows_of(postgres_store, prefix) == rows_of(fresh)


def test_rules_that_need_new_evidence_read_it_from_the_events(store):
    """The rules use a nested field, a new leg, and a new flow."""
    ingest_all(store, leg("order", parts={"first": "a"}), leg("payment", parts={"first": "b"}), leg("inventory"))
    assert [row.status for row in rows_of(store)] == ["matched"]

    assert recompute_with(store, DEEPER).changes == {("order", "ORD-1"): ("matched", "mismatched")}
    assert recompute_with(store, FOUR_LEGS).changes == {("order", "ORD-1"): ("mismatched", "incomplete")}
    other = replace(ORDER, name="purchase")
    assert recompute_with(store, FOUR_LEGS, other, SHIPMENT).changes == {("purchase", "ORD-1"): (None, "matched")}


def test_a_dry_run_writes_nothing(store):
    ingest_all(store, leg("order"), leg("payment", amount=20), leg("inventory"))
    before = (rows_of(store), sums(store))

    assert recompute_with(store, LENIENT, dry_run=True).changes == {("order", "ORD-1"): ("mismatched", "matched")}
    assert (rows_of(store), sums(store)) == before


def test_a_period_and_a_flow_limit_a_recompute(store):
    for number in range(3):
        key, after = f"ORD-{number}", 600.0 * number
        ingest_all(
            store,
            leg("order", key, after=after),
            leg("payment", key, amount=20, after=after),
            leg("inventory", key, after=after),
        )

    assert recompute_with(store, LENIENT, SHIPMENT, flow="shipment").changes == {}
    period = EventFilter(since=NOON + timedelta(minutes=5), until=NOON + timedelta(minutes=15))
    assert list(recompute_with(store, LENIENT, where=period).changes) == [("order", "ORD-1")]


def test_overflowing_evidence_is_counted_once(store):
    ingest_all(
        store, *(leg("payment", id_=str(number), amount=number, after=number) for number in range(12)), leg("order")
    )

    assert recompute_with(store, ORDER).changes == {}


def test_a_recompute_beside_ingest_neither_deadlocks_nor_loses_evidence(postgres_store):
    """Batches of the same instances arrive while the rules alternate. At the end all verdicts agree."""
    orders = [f"ORD-{number}" for number in range(60)]
    ingest_all(postgres_store, *(leg("order", key, amount=20) for key in orders))

    def write(name: str) -> None:
        for start in range(0, 60, 10):
            batch = [leg(name, key) for key in orders[start : start + 10]]
            ingest(batch, dedupe=NullDedupeCache(), store=postgres_store, reconciler=Reconciler([ORDER]))

    def alternate_rules(_: int) -> None:
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
                lambda job: job[0](job[1]),
                [(alternate_rules, 0), (write, "payment"), (write, "inventory"), (alternate_rules, 1)],
            )
        )

    recompute_with(postgres_store, ORDER)
    assert {row.status for row in rows_of(postgres_store)} == {"mismatched"}
    assert {each.deliveries for row in rows_of(postgres_store) for each in row.evidence_set.items} == {1}
    assert sums(postgres_store)["order", "status", "mismatched"][0] == 60
