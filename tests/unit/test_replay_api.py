"""The API's answers to replays of dead letters, over the in-memory store."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.fakes.store import MemoryStore
from tests.support.deliveries import aws_key, eventbridge
from tests.support.services import bearer
from tests.unit.test_api import AWS, JSON, LIMIT, client_on

REPLAY = "/api/v1/dead-letters/1/replay"
GOOD = eventbridge("1").body.decode()


@pytest.fixture
def client() -> Iterator[TestClient]:
    """An API with one dead letter."""
    with client_on(MemoryStore()) as api_client:
        api_client.post(AWS, content="{", headers=JSON)
        yield api_client


def test_a_repaired_dead_letter_is_stored_marked_and_audited(client):
    source, producer, id_ = aws_key("1")
    key = {"source": source, "producer": producer, "id": id_}
    assert client.post(REPLAY, json={"body": GOOD}).json() == {"status": "stored"} | key
    assert client.post(REPLAY, json={"body": GOOD}).json()["status"] == "duplicate"
    assert client.get("/api/v1/dead-letters/1").json()["replayed_as"] == "stored"
    assert client.post(REPLAY, headers=bearer("replay")).status_code == 422
    assert [line["actor"] for line in client.get("/api/v1/audit").json()["items"]] == ["local", "local"]
    client.post(REPLAY, json={"body": GOOD}, headers=bearer("replay"))
    assert client.get("/api/v1/audit", params={"limit": 1}).json()["items"][0]["actor"] == "token:replay"
    dead_letter = client.get("/api/v1/dead-letters/1").json()
    assert dead_letter["replayed_keys"] == [key]
    assert len(dead_letter["replays"]) == 3
    other = client.post(REPLAY, json={"body": eventbridge("2").body.decode()})
    shown = client.get("/api/v1/events/aws/2", params={"producer": producer})
    assert (other.status_code, shown.status_code) == (409, 404)


def test_a_body_that_is_still_unreadable_is_answered_with_its_field(client):
    answer = client.post(REPLAY, json={"body": "{}"})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "id")
    assert client.post(REPLAY).status_code == 422
    assert client.get("/api/v1/dead-letters/1").json()["attempts"] == 1


@pytest.mark.parametrize("request_body", ["[]", "{", '{"url": "http://somewhere"}', '{"body": 1}', b'{"body": "\xff"}'])
def test_an_invalid_repair_request_is_refused(client, request_body):
    answer = client.post(REPLAY, content=request_body, headers=JSON)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "request")


def test_a_contradiction_is_a_conflict(client):
    client.post(AWS, content=GOOD, headers=JSON)
    other = eventbridge("1", detail={"amount": 99}).body.decode()

    assert client.post(REPLAY, json={"body": other}).status_code == 409
    assert client.post("/api/v1/dead-letters/2/replay").status_code == 409


def test_an_unknown_dead_letter_is_a_404_and_a_large_body_a_413(client):
    assert client.post("/api/v1/dead-letters/9/replay").status_code == 404
    assert client.post(REPLAY, json={"body": " " * LIMIT}).status_code == 413
