"""The health of the archive: whether some process has archived within two days."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry

from helios.api.store_metrics import StoreCollector
from tests.fakes.store import MemoryStore
from tests.support.services import TRUST_LOOPBACK, client_of, in_memory


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def services(store: MemoryStore, *, archive_url: str | None = "/unused"):
    return in_memory(store, msgspec.structs.replace(TRUST_LOOPBACK, archive_url=archive_url))


@pytest.mark.parametrize(("hours", "state", "status"), [(47, "healthy", "healthy"), (49, "unhealthy", "degraded")])
def test_an_archive_without_a_success_for_two_days_is_unhealthy(store, hours, state, status):
    """Events are stored all the same: the answer is no 503."""
    store.archived_at = datetime.now(UTC) - timedelta(hours=hours)
    with client_of(services(store)) as client:
        answer = client.get("/api/v1/health/detailed")

    assert (answer.status_code, answer.json()["archive"], answer.json()["status"]) == (200, state, status)
    if state == "unhealthy":
        assert answer.json()["reasons"]["archive"].startswith("The archive last succeeded 49 hours ago")


def test_a_process_without_an_archive_says_nothing_of_it(store):
    store.archived_at = datetime.now(UTC) - timedelta(days=9)
    with client_of(services(store, archive_url=None)) as client:
        answer = client.get("/api/v1/health/detailed").json()

    assert (answer["archive"], answer["status"]) == ("disabled", "healthy")
    assert "helios_archive_silent_seconds" not in metrics(services(store, archive_url=None))


def test_prometheus_reads_how_long_the_last_success_is_ago(store):
    store.archived_at = datetime.now(UTC) - timedelta(hours=50)

    (line,) = [line for line in metrics(services(store)).splitlines() if line.startswith("helios_archive_silent")]

    assert 50 * 3600 <= float(line.split()[1]) < 51 * 3600


def metrics(of) -> str:
    registry = CollectorRegistry()
    registry.register(StoreCollector(of))
    return generate_latest(registry).decode()
