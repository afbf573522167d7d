"""The mark of a replay proves nothing, so it hides no contradiction from the verdict of an order."""

import json

import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.model.events import Delivery
from helios.reconciliation import declaration
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from tests.fakes.store import MemoryStore
from tests.support import envelopes
from tests.support.deliveries import NOON


def payment(amount: str, *, marked: bool) -> Delivery:
    """A payment of ORD-1; the attribute is the mark of a replay job."""
    attributes = {"ce-type": "PaymentProcessed"} | ({"ce-heliosreplay": "1"} if marked else {})
    data = f'{{"order_id": "ORD-1", "amount": {amount}}}'.encode()
    message = envelopes.pubsub_message("1", data, attributes=attributes)
    return Delivery(channel="pubsub", body=json.dumps(envelopes.pubsub_push(message)).encode(), received_at=NOON)


def order_after(*batches: list[Delivery]):
    """The statuses of the deliveries, and the order's flow instance as one comparable text."""
    store, reconciler = MemoryStore(), Reconciler(declaration.load())
    outcomes = [
        outcome.status
        for batch in batches
        for outcome in ingest(batch, dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
    ]
    return outcomes, store.flow(("order", "ORD-1"))


def test_a_marked_delivery_with_other_content_contradicts_its_order():
    """The order gets the same verdict as after an unmarked contradiction."""
    plain, marked = (order_after([payment("10", marked=False)], [payment("99", marked=mark)]) for mark in (False, True))

    assert marked == plain
    assert marked[0] == ["stored", "contradictory"]
    assert "contradictory" in marked[1].issues


@pytest.mark.parametrize("spelling", ["10", "10.00"])
def test_a_marked_delivery_that_repeats_a_stored_event_changes_nothing_of_its_order(spelling):
    """Clouds respell numbers on the way, which makes no other content."""
    before = order_after([payment("10", marked=False)])
    after = order_after([payment("10", marked=False)], [payment(spelling, marked=True)])

    assert after == (["stored", "duplicate"], before[1])


def test_a_marked_contradiction_beside_marked_duplicates_still_counts():
    _, instance = order_after(
        [payment("10", marked=False)], [payment(amount, marked=True) for amount in ("10", "99", "10.0")]
    )

    assert "contradictory" in instance.issues
    assert "duplicate" not in instance.issues
