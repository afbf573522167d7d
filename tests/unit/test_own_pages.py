"""On the loopback, curl, the API's own pages and the dashboard need no credentials; every other page does."""

import json

import pytest

from helios.settings import Settings
from tests.fakes.store import MemoryStore
from tests.support import envelopes
from tests.support.services import client_of, in_memory

EVENT = json.dumps(envelopes.eventbridge_event())
SETTINGS = Settings(
    database_url="postgresql://nowhere",
    webhook_auth="eventbridge=key",
    eventbridge_secret="s",
    trust_loopback=True,
    dashboard_origin="http://localhost:5173",
)
URL = "http://127.0.0.1:8001"
WRITES = [
    ("/api/v1/webhooks/aws/eventbridge", EVENT, 202),
    ("/api/v1/ws/tickets", "", 201),
]


@pytest.fixture
def client():
    with client_of(in_memory(MemoryStore(), SETTINGS), url=URL) as opened:
        yield opened


@pytest.mark.parametrize(("path", "body", "status"), WRITES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin"},
        {"origin": URL, "sec-fetch-site": "same-origin"},
        {"origin": "http://localhost:8001", "host": "localhost:8001"},
        {"origin": "http://localhost:5173", "sec-fetch-site": "cross-site"},
        {"origin": "http://localhost:5173", "sec-fetch-site": "same-site", "host": "localhost:8001"},
    ],
)
def test_curl_the_dashboard_and_the_api_s_own_pages_need_no_credentials(client, path, body, status, headers):
    assert client.post(path, content=body, headers=headers).status_code == status


@pytest.mark.parametrize(("path", "body", "_status"), WRITES)
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://localhost:3000", "sec-fetch-site": "same-site", "content-type": "text/plain"},
        {"origin": "http://127.0.0.1:3000"},
        {"origin": "http://127.0.0.1:4566"},
        {"origin": "http://localhost"},
        {"origin": "http://[::1]"},
        {"origin": "http://evil@localhost"},
        {"origin": "http://localhost:8001"},
        {"origin": "http://localhost:5173.evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_the_pages_of_other_programs_on_this_machine_need_credentials(client, path, body, _status, headers):
    assert client.post(path, content=body, headers=headers).status_code == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_page_reads_nothing_without_credentials(client, site):
    assert client.get("/api/v1/events", headers={"sec-fetch-site": site}).status_code == 401
    assert client.get("/api/v1/events").status_code == 200


def test_a_dashboard_on_another_machine_is_not_trusted():
    settings = Settings(
        database_url="postgresql://nowhere", trust_loopback=True, dashboard_origin="https://dashboard.example"
    )
    with client_of(in_memory(MemoryStore(), settings), url=URL) as client:
        answer = client.post("/api/v1/ws/tickets", headers={"origin": "https://dashboard.example"})
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/health", "/openapi.json", "/no-such-path"])
def test_no_other_page_may_embed_an_answer(client, path):
    assert client.get(path).headers["cross-origin-resource-policy"] == "same-origin"
