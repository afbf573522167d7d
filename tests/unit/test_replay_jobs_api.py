"""The API's answers about replay jobs, which send stored events or dead letters again."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from helios.settings import Settings
from tests.fakes.store import MemoryStore
from tests.support.deliveries import eventbridge
from tests.support.services import bearer, client_of, in_memory
from tests.support.waiting import eventually
from tests.unit.test_api import AWS, JSON, LIMIT, client_on

JOBS = "/api/v1/replays"
DEAD_LETTERS = "/api/v1/dead-letters"
TO_WATCHERS = {"what": "events", "target": {"kind": "relay"}}


@pytest.fixture
def client() -> Iterator[TestClient]:
    """An API with three events and three dead letters, two of them alike."""
    with client_on(MemoryStore()) as api_client:
        for number in range(3):
            api_client.post(AWS, content=eventbridge(str(number)).body, headers=JSON)
        for body in ("{}", '{"detail": 1}', "{"):
            api_client.post(AWS, content=body, headers=JSON)
        yield api_client


def test_a_dry_run_counts_the_matching_events_and_stores_no_job(client):
    answer = client.post(JOBS, json=TO_WATCHERS | {"dry_run": True})

    assert answer.status_code == 200
    assert (answer.json()["matching"], answer.json()["examples"]) == (3, ["aws/0", "aws/1", "aws/2"])
    assert client.get(JOBS).json()["items"] == []


def test_a_job_is_created_completed_and_listed(client):
    created = client.post(JOBS, json=TO_WATCHERS | {"filter": {"source": "aws"}}, headers=bearer("replay"))
    assert (created.status_code, created.json()["state"], created.json()["actor"]) == (201, "running", "token:replay")
    job_url = f"{JOBS}/{created.json()['id']}"

    eventually(lambda: client.get(job_url).json()["state"] == "done")

    assert (client.get(job_url).json()["sent"], client.get(job_url).json()["matching"]) == (3, 3)
    assert [job["id"] for job in client.get(JOBS).json()["items"]] == [created.json()["id"]]
    replayed_frames = [frame for frame in client.get("/api/v1/frames").json()["frames"] if frame["replay"]]
    assert [event["id"] for frame in replayed_frames for event in frame["events"]] == ["0", "1", "2"]
    assert client.get("/api/v1/stats").json()["total_events"] == 3


def test_a_job_is_cancelled_once(client):
    slow = client.post(JOBS, json=TO_WATCHERS | {"per_second": 1}).json()

    assert client.post(f"{JOBS}/{slow['id']}/cancel").json()["state"] == "cancelled"
    assert client.post(f"{JOBS}/{slow['id']}/cancel").status_code == 409
    assert client.post(f"{JOBS}/99/cancel").status_code == client.get(f"{JOBS}/99").status_code == 404
    lines = client.get("/api/v1/audit", params={"action": "replay_cancelled"}).json()["items"]
    assert [line["subject"] for line in lines] == [f"replay job {slow['id']}"]


@pytest.mark.parametrize(
    ("request_body", "field"),
    [
        ("{", "request"),
        ("", "request"),
        ('{"what": "events"}', "request"),
        ('{"what": "events", "target": {"kind": "relay"}, "per_second": 0}', "request"),
        ('{"what": "events", "target": {"kind": "relay"}, "filter": {"since": "2025-11-26T12:00:00"}}', "request"),
        ('{"what": "events", "target": {"kind": "relay"}, "sendto": "x"}', "request"),
        ('{"what": "events", "target": {"kind": "ingest"}}', "target.kind"),
        ('{"what": "events", "target": {"kind": "webhook", "url": "https://hooks.example"}}', "target.url"),
        (
            '{"what": "events", "target": {"kind": "cloud", "cloud": "aws"}, "filter": {"source": "aws"}}',
            "target.cloud",
        ),
    ],
)
def test_an_invalid_job_is_refused_with_its_field(client, request_body, field):
    answer = client.post(JOBS, content=request_body, headers=JSON)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert client.get(JOBS).json()["items"] == []


def test_a_large_request_is_a_413(client):
    assert client.post(JOBS, content=" " * (LIMIT + 1), headers=JSON).status_code == 413


def test_dead_letters_are_filtered_and_grouped(client):
    def ids(**query):
        return [dead_letter["id"] for dead_letter in client.get(DEAD_LETTERS, params=query).json()["items"]]

    assert ids(field="id", reason="is missing") == [2, 1]
    assert ids(field="body") == [3]
    assert ids(replayed="true") == ids(status="contradictory") == ids(source="gcp") == []
    assert ids(since="2025-01-01T00:00:00Z") == [3, 2, 1]
    assert ids(until="2025-01-01T00:00:00Z") == []
    page = client.get(DEAD_LETTERS, params={"field": "id", "limit": 1}).json()
    assert ids(field="id", limit=1, after=page["next_cursor"]) == [1]

    groups = client.get(f"{DEAD_LETTERS}/groups").json()
    assert [(group["source"], group["field"], group["count"], group["example_id"]) for group in groups] == [
        ("aws", "id", 2, 2),
        ("aws", "body", 1, 3),
    ]
    client.post(f"{DEAD_LETTERS}/3/replay", json={"body": eventbridge("9").body.decode()})
    assert [group["count"] for group in client.get(f"{DEAD_LETTERS}/groups", params={"replayed": "false"}).json()] == [
        2
    ]
    assert ids(replayed="true") == [3]


@pytest.mark.parametrize("path", [JOBS, f"{JOBS}/1/cancel"])
def test_a_read_token_can_not_start_or_cancel_a_job(path):
    settings = Settings(database_url="postgresql://nowhere", webhook_auth="closed")
    with client_of(in_memory(MemoryStore(), settings), url="http://api.example", sender="192.0.2.1") as client:
        assert client.post(path, json=TO_WATCHERS, headers=bearer("read")).status_code == 403
        assert client.post(path, json=TO_WATCHERS).status_code == 401
        assert client.get(JOBS, headers=bearer("read")).status_code == 200
