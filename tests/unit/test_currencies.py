"""Currencies, which senders write: what is one, and how many of them become series of a metric."""

from datetime import UTC, datetime

import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.api.store_metrics import MAX_CURRENCIES
from helios.model.flows import FlowFilter
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from tests.fakes.store import MemoryStore
from tests.support.deliveries import NOON
from tests.support.instances import ORDER, leg
from tests.support.services import client_of, in_memory


def mismatched(store: MemoryStore, currencies: list[str]) -> None:
    """Store an order with another amount paid, in each currency; the amounts are 1, 2, 3 and so on."""
    ago = (datetime.now(UTC) - NOON).total_seconds()
    for number, currency in enumerate(currencies, start=1):
        key, after = f"ORD-{number}", ago - 60
        legs = [
            leg("order", key, after=after, amount=number, currency=currency),
            leg("payment", key, after=after, amount=number + 0.5, currency=currency),
        ]
        ingest(legs, dedupe=NullDedupeCache(), store=store, reconciler=Reconciler([ORDER]))


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("EUR", "EUR"),
        ("eur", "EUR"),
        ("Usd", "USD"),
        ("EURO", None),
        ("E1R", None),
        ("", None),
        ("EUR\n", None),
        ("\u017fEK", None),
        ("€", None),
    ],
)
def test_a_currency_is_three_letters(text, currency):
    """ISO 4217; what else a sender writes is not a currency, and no label and no row of the sums."""
    store = MemoryStore()
    mismatched(store, [text])

    (record,) = store.flows(FlowFilter(), after=None, limit=10).items
    assert record.currency == currency
    counts = store.flow_counts(None, since=NOON, until=datetime.now(UTC), bucket=datetime.now(UTC) - NOON)
    assert {count.value for count in counts if count.what == "risk"} == {currency or ""}


def test_the_metric_has_a_series_for_the_largest_amounts_and_one_for_the_others():
    """A sender that makes up currencies makes no more series than these."""
    store = MemoryStore()
    alphabet = "ABCDEFGHIJ"
    currencies = [f"X{first}{second}" for first in alphabet for second in alphabet]
    mismatched(store, currencies)
    with client_of(in_memory(store)) as client:
        lines = client.get("/metrics").text.splitlines()

    series = [line.rsplit(" ", 1) for line in lines if line.startswith("helios_flow_amount_at_risk{")]
    expected = {name: float(number) for number, name in enumerate(currencies, start=1)}
    shown = dict(list(expected.items())[-MAX_CURRENCIES:])
    shown["other"] = sum(expected.values()) - sum(shown.values())
    assert {name: float(value) for name, value in series} == {
        f'helios_flow_amount_at_risk{{currency="{name}",flow="order"}}': value for name, value in shown.items()
    }
