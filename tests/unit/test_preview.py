"""A preview evaluates rules on stored events. Unchanged rules give the recorded verdicts."""

from datetime import timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from helios.adapters.no_dedupe import NullDedupeCache
from helios.model.events import EventFilter
from helios.model.flows import FlowFilter
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.preview import longest_time_to_deadline, preview
from helios.reconciliation.record import to_instance
from helios.reconciliation.rule import Rule
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.sweep import expire_flows
from tests.fakes.store import MemoryStore
from tests.support.deliveries import NOON
from tests.support.instances import ORDER, SHIPMENT, leg

NOW = NOON + timedelta(minutes=10)
SINCE = NOON - timedelta(minutes=10)
ORDERS = [f"ORD-{number}" for number in range(4)]

DELIVERIES = st.lists(
    st.builds(
        leg,
        st.sampled_from(["order", "payment", "inventory"]),
        st.sampled_from(ORDERS),
        id_=st.sampled_from("12"),
        after=st.integers(0, 300),
        amount=st.sampled_from([10, 11]),
    ),
    max_size=24,
)


def store_with(*deliveries) -> MemoryStore:
    """A store that has ingested these deliveries one by one, with every verdict."""
    store = MemoryStore()
    reconciler = Reconciler([ORDER])
    for delivery in deliveries:
        ingest([delivery], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
    expire_flows(NOW, store=store, reconciler=reconciler)
    return store


def run_preview(flows, store, *, since=SINCE):
    events = store.events(EventFilter(), after=None, limit=500).items
    rows = [to_instance(FlowEvaluator(ORDER), row) for row in store.flows(FlowFilter(), after=None, limit=500).items]
    return preview(flows, events, rows, since=since, now=NOW)


@settings(derandomize=True, database=None)
@given(DELIVERIES)
def test_the_same_rules_give_the_recorded_verdicts(deliveries):
    result = run_preview([ORDER], store_with(*sorted(deliveries, key=lambda delivery: delivery.received_at)))

    assert result.differences == []
    assert result.recorded == result.previewed
    known_keys = {key for key in ORDERS for delivery in deliveries if key.encode() in delivery.body}
    assert result.instances + result.contradictory == len(known_keys)


def test_a_changed_rule_lists_the_flow_instances_it_would_change():
    near = [leg("order"), leg("payment", amount="10.5"), leg("inventory")]
    far = [leg("order", "ORD-2"), leg("payment", "ORD-2", amount=7), leg("inventory", "ORD-2")]
    store = store_with(*near, *far)
    lenient = msgspec.structs.replace(ORDER, rule=(Rule(equal=("order.amount", "payment.amount"), within="1"),))

    result = run_preview([lenient], store)

    assert [(difference.key, difference.recorded, difference.previewed) for difference in result.differences] == [
        ("ORD-1", "mismatched", "matched")
    ]
    assert (result.instances, result.recorded["mismatched"], result.previewed["mismatched"]) == (2, 2, 1)


def test_a_stricter_rule_lists_the_issues_it_would_raise():
    store = store_with(leg("order"), leg("payment"), leg("inventory", quantity=1))
    strict = msgspec.structs.replace(ORDER, rule=(Rule(equal=("order.quantity", "payment.quantity")),))
    ((_, key, recorded, previewed, _),) = run_preview([strict], store).differences
    assert (key, recorded, previewed) == ("ORD-1", "mismatched", "matched")

    reserved = Rule(equal=("payment.quantity", "inventory.quantity"))
    ((*_, issues),) = run_preview(
        [msgspec.structs.replace(strict, name="reserved", rule=(reserved,))], store
    ).differences
    assert [issue.detail for issue in issues] == ["quantity: GCP charged 2, Azure reserved 1"]


def test_instances_of_a_new_flow_have_no_recorded_verdict():
    store = store_with(leg("order"), leg("payment"), leg("inventory"))
    renamed = msgspec.structs.replace(ORDER, name="purchase")

    assert [tuple(difference) for difference in run_preview([renamed], store).differences] == [
        ("purchase", "ORD-1", "none", "matched", []),
    ]
    assert run_preview([SHIPMENT], store).instances == 0


def test_a_flow_instance_that_began_before_the_period_is_not_evaluated():
    store = store_with(leg("order"), leg("payment", after=20), leg("inventory", after=21))

    assert run_preview([ORDER], store, since=NOON + timedelta(seconds=10)).instances == 0
    assert longest_time_to_deadline([ORDER, SHIPMENT]) == timedelta(seconds=90)


def test_a_flow_instance_with_evidence_after_the_preview_is_left_out():
    store = store_with(leg("order"), leg("payment", after=1200))

    assert run_preview([ORDER], store).instances == 0
