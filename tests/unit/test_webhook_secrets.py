"""A caller who may only read sees no secret of a webhook's URL."""

from datetime import UTC, datetime

import pytest

from helios.model.replay import ReplayRequest, Target
from helios.settings import Settings
from tests.fakes.store import MemoryStore
from tests.support.services import bearer, client_of, in_memory

pytestmark = pytest.mark.usefixtures("within_a_minute")

CLOSED = Settings(database_url="postgresql://nowhere", webhook_auth="closed")
SLACK = "https://user:s3cret@hooks.example:8443/services/s3cret?token=s3cret#s3cret"  # pragma: allowlist secret
PATHS = ("/api/v1/replays", "/api/v1/replays/1", "/api/v1/audit", "/api/v1/audit?action=replay_started")


@pytest.fixture
def client():
    services = in_memory(MemoryStore(), CLOSED)
    request = ReplayRequest(what="events", target=Target(kind="webhook", url=SLACK))
    job = services.jobs.add(request, actor="token:replay", matching=1, now=datetime.now(UTC))
    services.jobs.end(job.id, "cancelled", actor="token:replay", now=datetime.now(UTC))
    with client_of(services, url="http://api.example", sender="192.0.2.1") as opened:
        yield opened


@pytest.mark.parametrize("path", PATHS)
def test_a_reader_sees_the_host_and_no_secret(client, path):
    """A URL has places for secrets: the user, the path, the query and the fragment."""
    answer = client.get(path, headers=bearer("read"))

    assert answer.status_code == 200
    assert "s3cret" not in answer.text
    assert "https://hooks.example:8443/[hidden]" in answer.text


@pytest.mark.parametrize("scope", ["replay", "admin"])
@pytest.mark.parametrize("path", PATHS)
def test_a_caller_who_may_start_jobs_sees_the_url(client, path, scope):
    assert SLACK in client.get(path, headers=bearer(scope)).text


def test_reading_the_audit_log_still_needs_a_token(client):
    assert client.get("/api/v1/audit").status_code == 401
    assert client.get("/api/v1/replays").status_code == 401


def test_a_request_for_the_audit_log_counts_once_towards_the_rate_limit():
    """Two parts of the route need the caller; the caller is identified once."""
    settings = Settings(database_url="postgresql://nowhere", webhook_auth="closed", rate_per_minute=3)
    with client_of(in_memory(MemoryStore(), settings), url="http://api.example", sender="192.0.2.1") as client:
        statuses = [client.get("/api/v1/audit", headers=bearer("read")).status_code for _ in range(4)]

    assert statuses == [200, 200, 200, 429]


def test_a_url_without_a_path_is_shown():
    services = in_memory(MemoryStore(), CLOSED)
    request = ReplayRequest(what="events", target=Target(kind="webhook", url="https://hooks.example/"))
    services.jobs.add(request, actor="token:replay", matching=1, now=datetime.now(UTC))
    with client_of(services, url="http://api.example", sender="192.0.2.1") as client:
        shown = client.get("/api/v1/replays", headers=bearer("read")).json()["items"][0]["target"]["url"]

    assert shown == "https://hooks.example/"
