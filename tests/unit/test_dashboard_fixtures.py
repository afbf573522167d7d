"""The fixtures of the dashboard's tests have the same texts as the API."""

import json
from pathlib import Path

from helios.adapters.no_dedupe import NullDedupeCache
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from tests.fakes.store import MemoryStore
from tests.support.instances import ORDER, leg
from tests.support.services import client_of, in_memory

ISSUES = Path(__file__).parents[2] / "dashboard/tests/support/issues.json"


def test_the_issues_in_the_dashboards_fixtures_equal_those_of_the_api():
    store = MemoryStore()
    azure = leg("inventory", quantity=2)
    deliveries = [leg("order", quantity=3), leg("payment"), azure, azure]
    ingest(deliveries, dedupe=NullDedupeCache(), store=store, reconciler=Reconciler([ORDER]))
    with client_of(in_memory(store)) as client:
        issues = client.get("/api/v1/flows/order/ORD-1").json()["issues"]

    assert issues == json.loads(ISSUES.read_text())
    assert "quantity: AWS ordered 3, Azure reserved 2" in [issue["detail"] for issue in issues]
