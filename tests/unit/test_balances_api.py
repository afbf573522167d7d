"""The route of balances, on services in memory, and what the command line and the client make of it."""

from datetime import timedelta

import pytest

from helios.cli.tables import balances
from helios.model.balances import Balance
from tests.fakes.store import MemoryStore
from tests.support.deliveries import NOON
from tests.support.services import client_of, in_memory

PATH = "/api/v1/balances"
MISSING = Balance(
    minute=NOON, source="aws", type="OrderPlaced", state="missing", published=9, stored=7, rejected=1, missing=1
)
BALANCED = Balance(
    minute=NOON + timedelta(minutes=1), source="gcp", type="Paid", state="balanced", published=4, stored=4
)


@pytest.fixture
def client():
    services = in_memory(MemoryStore())
    services.balances.rows += [MISSING, BALANCED]  # type: ignore[attr-defined]  # the fake's
    return client_of(services)


def types(client, query: str = "") -> list[str]:
    return [item["type"] for item in client.get(f"{PATH}{query}").json()["items"]]


def test_balances_are_listed_by_state_source_type_and_minute(client):
    assert types(client) == ["Paid", "OrderPlaced"]
    assert types(client, "?state=missing&state=extra") == ["OrderPlaced"]
    assert types(client, "?source=gcp") == ["Paid"]
    assert types(client, "?type=OrderPlaced") == ["OrderPlaced"]
    assert types(client, "?since=2025-11-26T12:01:00Z") == ["Paid"]
    assert types(client, "?until=2025-11-26T12:01:00Z") == ["OrderPlaced"]
    assert client.get(f"{PATH}?state=lost").status_code == 422


def test_a_page_names_the_next_one(client):
    page = client.get(f"{PATH}?limit=1").json()

    assert [item["type"] for item in page["items"]] == ["Paid"]
    assert types(client, f"?limit=1&after={page['next_cursor']}") == ["OrderPlaced"]


def test_the_table_says_that_nothing_matches():
    assert "no producer has sent a manifest" in str(balances([]))
