"""A declared source needs no migration: its events, counts, dead letters and legs are stored as those of the clouds."""

import msgspec
import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import Delivery, EventFilter
from helios.model.flows import FlowFilter
from helios.reconciliation import declaration as flows
from helios.services.dead_letters import replay_dead_letter
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.sources.declaration import load
from tests.support.deliveries import NOON

SOURCES = '[[source]]\nname = "stripe"\npreset = "stripe"\n\n[[source]]\nname = "shop"\npreset = "shopify"\n'
FLOWS = """
[[flow]]
name = "order"
key = "order_id"
window_seconds = 30
grace_seconds = 60
amount = ["payment.amount"]
currency = ["payment.currency"]

[[flow.leg]]
name = "order"
source = "shop"
type = "orders/create"

[[flow.leg]]
name = "payment"
source = "stripe"
type = "payment_intent.succeeded"
verb = "charged"

[[flow.rule]]
equal = ["order.amount", "payment.amount"]

[[flow.rule]]
equal = ["order.currency", "payment.currency"]
"""


@pytest.fixture
def sources(tmp_path):
    file = tmp_path / "sources.toml"
    file.write_text(SOURCES)
    return load(str(file))


@pytest.fixture
def reconciler(sources, tmp_path) -> Reconciler:
    file = tmp_path / "flows.toml"
    file.write_text(FLOWS)
    return Reconciler(flows.load(str(file), sources=sources), sources)


def delivery(sources, name: str, body: object, **headers: str) -> Delivery:
    return Delivery(
        channel="webhook",
        body=msgspec.json.encode(body),
        headers=headers,
        received_at=NOON,
        declaration=sources.declared[name],
    )


def payment(sources, *, cents: int = 1099, **change: object) -> Delivery:
    event = {
        "id": "evt_1",
        "type": "payment_intent.succeeded",
        "created": 1764158400,
        "api_version": "2025-09-30.clover",
        "data": {"object": {"amount": cents, "currency": "usd", "metadata": {"order_id": "ORD-1"}}},
    }
    return delivery(sources, "stripe", event | change)


def order(sources) -> Delivery:
    body = {"id": "ORD-1", "total_price": "10.99", "currency": "USD"}
    headers = {"x-shopify-webhook-id": "1", "x-shopify-topic": "orders/create"}
    return delivery(sources, "shop", body, **headers)


def test_legs_of_declared_sources_match_by_the_values_that_their_declarations_name(store, sources, reconciler):
    batch = [order(sources), payment(sources)]
    ingest(batch, dedupe=NullDedupeCache(), store=store, reconciler=reconciler)

    (record,) = store.flows(FlowFilter(), after=None, limit=9).items
    assert (record.key, record.status, str(record.amount), record.currency) == ("ORD-1", "matched", "10.99", "USD")


def test_an_issue_names_the_labels_of_declared_sources(store, sources, reconciler):
    batch = [order(sources), payment(sources, cents=1199)]
    ingest(batch, dedupe=NullDedupeCache(), store=store, reconciler=reconciler)

    (record,) = store.flows(FlowFilter(), after=None, limit=9).items
    assert record.status == "mismatched"
    evaluator = reconciler.evaluators["order"]
    instance = evaluator.to_instance(record.key, record.evidence_set, now=NOON)
    assert [issue.detail for issue in instance.issues] == ["amount: order on Shopify is 10.99, Stripe charged 11.99"]


def test_events_and_counts_of_a_declared_source_are_stored(store, sources):
    outcomes = ingest([payment(sources), payment(sources)], dedupe=NullDedupeCache(), store=store)

    assert [outcome.status for outcome in outcomes] == ["stored", "duplicate"]
    (event,) = store.events(EventFilter(source="stripe"), after=None, limit=9).items
    assert (event.key, dict(event.attributes)) == (
        ("stripe", "stripe", "evt_1"),
        {"api_version": "2025-09-30.clover"},
    )
    assert store.totals(NOON).events_by_source == {"stripe": 1}


def test_a_dead_letter_of_a_declared_source_is_replayed_by_its_declaration(store, sources):
    ingest([payment(sources, type=None)], dedupe=NullDedupeCache(), store=store)
    (stored,) = store.dead_letters(DeadLetterFilter(source="stripe"), after=None, limit=9).items
    assert (stored.dead_letter.channel, stored.dead_letter.field) == ("webhook", "type")

    def ingest_now(deliveries, *, also_write=None, accept=False):
        return ingest(deliveries, dedupe=NullDedupeCache(), store=store, also_write=also_write)

    fixed = payment(sources).body
    (outcome,) = replay_dead_letter(stored, fixed, ingest=ingest_now, actor="ann", now=NOON, sources=sources)
    assert outcome.status == "stored"
