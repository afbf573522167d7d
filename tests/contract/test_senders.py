"""What real senders send to the API, on every store: the answer, the events, the dead letters and the flows."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from starlette.testclient import TestClient

from helios import bootstrap
from helios.adapters.no_dedupe import NullDedupeCache
from helios.model.events import Channel, Delivery
from helios.normalise import normalise
from helios.services.ingest import ingest
from helios.settings import Settings
from tests.fakes.store import MemoryStore
from tests.support.deliveries import NOON
from tests.support.requests import Case, Sent, cases, missing
from tests.support.services import client_of, in_memory

PAYLOADS = Path(__file__).parents[1] / "payloads"


@pytest.fixture(params=["memory", "postgres"])
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    """The API on an empty store."""
    if request.param == "memory":
        services = in_memory(MemoryStore())
    else:
        request.getfixturevalue("pool")
        url = request.getfixturevalue("database_url")
        services = bootstrap.build_long_lived(Settings(database_url=url, trust_loopback=True))
    with client_of(services) as api:
        yield api


@pytest.mark.parametrize("case", [case for case in cases() if not case.needs_function], ids=lambda case: case.name)
def test_a_request_of_a_real_sender(client: TestClient, case: Case) -> None:
    """A golden case: the request has the expected answer, events and dead letters."""
    for sent in case.first:
        post(client, sent)
    status, results = post(client, case.request)
    expected = case.expected
    shown = {
        "status": status,
        "results": results,
        "events": client.get("/api/v1/events").json()["items"],
        "dead_letters": client.get("/api/v1/dead-letters").json()["items"],
    }

    assert missing(shown, {name: value for name, value in expected.items() if name != "then"} | counted(expected)) == []
    for look in expected.get("then", []):
        assert missing(client.get(look["get"]).json(), look["has"]) == []


def counted(expected: dict) -> dict:
    """A case with a flow lists no events: its flow shows them."""
    return {"events": [{}] * 3} if "then" in expected else {}


def post(client: TestClient, sent: Sent) -> tuple[int, list[str]]:
    answer = client.post(sent.path, content=sent.body, headers=sent.headers)
    content = answer.json()
    results = content.get("results", [content])
    return answer.status_code, [result.get("status") for result in results]


@pytest.mark.parametrize(
    "file", sorted(PAYLOADS.glob("*/*.event.json")), ids=lambda file: f"{file.parent.name}/{file.name}"
)
def test_a_golden_event_is_stored_as_it_was_read(store, file: Path) -> None:
    """Every golden pair of the normaliser goes through the store unchanged."""
    stem = file.with_name(file.name.removesuffix(".event.json"))
    headers = stem.with_name(f"{stem.name}.headers.json")
    delivery = Delivery(
        channel=msgspec.convert(file.parent.name, Channel),
        body=stem.with_name(f"{stem.name}.in.json").read_bytes(),
        headers=json.loads(headers.read_text()) if headers.exists() else {},
        received_at=NOON,
    )
    (outcome,) = ingest([delivery], dedupe=NullDedupeCache(), store=store)
    event = normalise(delivery)

    assert outcome.status == "stored"
    assert store.event(event.key) == event
