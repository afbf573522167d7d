"""Rules are tried on what is stored, and the same rules find what was found before."""

from datetime import timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from helios.adapters.no_dedupe import NullDedupeCache
from helios.model.events import EventFilter
from helios.model.flows import FlowFilter
from helios.reconciliation.declaration import Rule
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.preview import longest_time_to_deadline, preview
from helios.reconciliation.record import to_instance
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


def recorded(*deliveries) -> MemoryStore:
    """A store that has judged these, one by one."""
    store = MemoryStore()
    reconciler = Reconciler([ORDER])
    for delivery in deliveries:
        ingest([delivery], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
    expire_flows(NOW, store=store, reconciler=reconciler)
    return store


def tried(flows, store, *, since=SINCE):
    events = store.events(EventFilter(), after=None, limit=500).items
    rows = [to_instance(FlowEvaluator(ORDER), row) for row in store.flows(FlowFilter(), after=None, limit=500).items]
    return preview(flows, events, rows, since=since, now=NOW)


@settings(derandomize=True, database=None)
@given(DELIVERIES)
def test_the_same_rules_say_of_the_events_what_is_recorded(deliveries):
    found = tried([ORDER], recorded(*sorted(deliveries, key=lambda one: one.received_at)))

    assert found.differences == []
    assert found.recorded == found.previewed
    told_of = {key for key in ORDERS for delivery in deliveries if key.encode() in delivery.body}
    assert found.instances + found.contradictory == len(told_of)


def test_another_rule_shows_which_stories_it_would_change_and_why():
    near = [leg("order"), leg("payment", amount="10.5"), leg("inventory")]
    far = [leg("order", "ORD-2"), leg("payment", "ORD-2", amount=7), leg("inventory", "ORD-2")]
    store = recorded(*near, *far)
    lenient = msgspec.structs.replace(ORDER, rule=(Rule(equal=("order.amount", "payment.amount"), within="1"),))

    found = tried([lenient], store)

    assert [(one.key, one.recorded, one.previewed) for one in found.differences] == [("ORD-1", "mismatched", "matched")]
    assert (found.instances, found.recorded["mismatched"], found.previewed["mismatched"]) == (2, 2, 1)


def test_a_stricter_rule_says_what_would_be_wrong():
    store = recorded(leg("order"), leg("payment"), leg("inventory", quantity=1))
    strict = msgspec.structs.replace(ORDER, rule=(Rule(equal=("order.quantity", "payment.quantity")),))
    ((_, key, was, would_be, _),) = tried([strict], store).differences
    assert (key, was, would_be) == ("ORD-1", "mismatched", "matched")

    reserved = Rule(equal=("payment.quantity", "inventory.quantity"))
    ((*_, issues),) = tried([msgspec.structs.replace(strict, name="again", rule=(reserved,))], store).differences
    assert [issue.detail for issue in issues] == ["quantity: GCP charged 2, Azure reserved 1"]


def test_a_new_flow_s_stories_are_none_yet():
    store = recorded(leg("order"), leg("payment"), leg("inventory"))
    renamed = msgspec.structs.replace(ORDER, name="purchase")

    assert [tuple(one) for one in tried([renamed], store).differences] == [
        ("purchase", "ORD-1", "none", "matched", []),
    ]
    assert tried([SHIPMENT], store).instances == 0


def test_a_story_that_began_before_the_period_is_not_judged_by_half_its_legs():
    store = recorded(leg("order"), leg("payment", after=20), leg("inventory", after=21))

    assert tried([ORDER], store, since=NOON + timedelta(seconds=10)).instances == 0
    assert longest_time_to_deadline([ORDER, SHIPMENT]) == timedelta(seconds=90)


def test_a_story_that_is_told_more_of_meanwhile_is_left_out():
    store = recorded(leg("order"), leg("payment", after=1200))

    assert tried([ORDER], store).instances == 0
