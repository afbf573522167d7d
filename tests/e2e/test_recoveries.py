"""What the demo shows of missing legs: an event that a cloud holds, why it is missing, and how it comes back."""

import uuid
from datetime import UTC, datetime

import pytest

from helios.client import Client
from local.stack.config import UNDELIVERED
from tests.e2e.conftest import DELIVERED_SECONDS, SOURCES, emission
from tests.support.waiting import eventually

TYPES = {"aws": "QuickOrder", "gcp": "QuickPayment", "azure": "QuickInventory"}
LEGS = {"aws": "order", "gcp": "payment", "azure": "inventory"}
PLACES = {"aws": "the archive ", "gcp": "the dead letters of projects/", "azure": "the dead letters in http://"}
COMPLETE = {"matched", "matched_late"}


@pytest.fixture
def client(stack):
    return Client(stack.config.api_url)


@pytest.fixture
def held(publish):
    """The keys of orders, by the cloud that accepts one leg of each and does not deliver it."""
    keys = {source: f"ORD-{uuid.uuid4().hex[:12]}" for source in SOURCES}
    publish(
        [
            emission(
                source,
                type_,
                datetime.now(UTC),
                {"order_id": key} | ({UNDELIVERED: True} if source == holding else {}),
                key,
            )
            for holding, key in keys.items()
            for source, type_ in TYPES.items()
        ]
    )
    return keys


def verdict(client: Client, key: str) -> tuple[str, list[str]]:
    """The status of an order, and the names of its missing legs."""
    instance = next(client.flows(flow="quick", key=key), None)
    if instance is None:
        return "none", []
    return instance.status, [leg.name for leg in instance.legs if leg.state == "missing"]


def is_brought_back(client: Client, source: str, key: str) -> bool:
    """Whether a recovery has brought the leg back. Pub/Sub makes five attempts before it has a dead letter."""
    last = next(client.recoveries(flow="quick", key=key, limit=1), None)
    if last is None or last.state == "not_found":
        client.recover("quick", key, LEGS[source])
        return False
    return last.state == "recovered"


def test_a_leg_that_each_cloud_holds_is_brought_back_by_one_action_each(client, held):
    def verdicts() -> dict[str, tuple[str, list[str]]]:
        return {source: verdict(client, key) for source, key in held.items()}

    incomplete = {source: ("incomplete", [LEGS[source]]) for source in held}
    eventually(lambda: verdicts() == incomplete, seconds=DELIVERED_SECONDS, facts=verdicts)
    for source, key in held.items():
        (diagnosis,) = client.diagnoses("quick", key)
        assert (diagnosis.leg, diagnosis.finding) == (LEGS[source], "unknown")
        assert any(place.startswith(PLACES[source]) for place in diagnosis.places)

    for source, key in held.items():
        eventually(
            lambda: is_brought_back(client, source, key),  # noqa: B023 - called at once
            seconds=DELIVERED_SECONDS,
            facts=lambda: [*client.recoveries(flow="quick", key=key)],  # noqa: B023 - called at once
        )
        last = next(client.recoveries(flow="quick", key=key, limit=1))
        assert last.finding == "not_delivered"
        assert last.found_in
        assert last.found_in.startswith(PLACES[source])
        instance = client.flow("quick", key)
        assert instance.status in COMPLETE
        assert [leg.deliveries for leg in instance.legs] == [1, 1, 1]
