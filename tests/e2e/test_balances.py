"""Events that a cloud loses, and the manifests of their producers: the vendors' SDKs, the emulators, the functions."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from helios.adapters.postgres.balances import PostgresBalances
from helios.adapters.postgres.connection import open_pool
from helios.embedded import postgres
from helios.model.balances import MANIFEST_TYPE
from helios.services.balances import BalanceJob
from tests.e2e.conftest import DELIVERED_SECONDS, SOURCES, emission
from tests.support.waiting import eventually

GRACE = timedelta(minutes=1)


@pytest.fixture
def count(stack):
    """A function that counts as the sweep does ``after`` from now."""
    url = postgres.url(stack.config.postgres_port, stack.config.credentials.postgres)
    with open_pool(url, connections=2, timeout_seconds=10) as pool:
        job = BalanceJob(PostgresBalances(pool), grace=GRACE)
        yield lambda after: job.run(datetime.now(UTC) + after)


def test_an_event_that_every_cloud_loses_is_missing_until_it_arrives(stack, publish, count):
    type_ = f"Balanced{uuid.uuid4().hex[:8]}"  # no other test of this stack publishes it
    now = datetime.now(UTC)
    minute = now.replace(second=0, microsecond=0)
    order = {"order_id": "ORD-1", "amount": 1}
    emissions = [emission(source, type_, now, order, "ORD-1") for source in SOURCES for _ in range(3)]
    lost, arriving = emissions[::3], [each for each in emissions if each not in emissions[::3]]
    declared = {"minute": minute, "events": [{"type": type_, "published": 3}]}
    publish([*arriving, *(emission(source, MANIFEST_TYPE, now, declared) for source in SOURCES)])

    def balances() -> dict[str, tuple[str, int]]:
        rows = stack.get(f"/api/v1/balances?type={type_}")["items"]
        return {row["source"]: (row["state"], row["missing"]) for row in rows}

    def balanced(after: timedelta, expected: tuple[str, int], *sources: str) -> bool:
        count(after)
        return balances().items() >= dict.fromkeys(sources, expected).items()

    def incidents(state: str) -> set[str]:
        rows = stack.get(f"/api/v1/incidents?kind=drift&state={state}&limit=500")["items"]
        return {row["cause"]["source"] for row in rows if row["cause"]["type"] == type_}

    events = f"/api/v1/events?type={type_}&limit=50"
    eventually(lambda: len(stack.get(events)["items"]) == len(arriving), seconds=DELIVERED_SECONDS)
    due = timedelta(minutes=2)
    eventually(lambda: balanced(due, ("missing", 1), *SOURCES), seconds=DELIVERED_SECONDS)
    eventually(lambda: incidents("open") == set(SOURCES), seconds=60)

    publish(lost)
    eventually(lambda: balanced(due + timedelta(minutes=2), ("balanced", 0), *SOURCES), seconds=DELIVERED_SECONDS)
