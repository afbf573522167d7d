"""The API's answers over the in-memory store, request by request."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from fastapi import APIRouter, Depends, Request
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from helios.api.webhooks import served
from helios.errors import Retryable
from helios.model.events import MAX_NAME_CHARS
from helios.settings import Settings
from tests.fakes.store import MemoryStore
from tests.support import envelopes
from tests.support.deliveries import eventbridge, eventgrid
from tests.support.services import client_of, in_memory

AWS = "/api/v1/webhooks/aws/eventbridge"
GCP = "/api/v1/webhooks/gcp/pubsub"
AZURE = "/api/v1/webhooks/azure/eventgrid"
CLOUDEVENTS = "/api/v1/webhooks/cloudevents"
JSON = {"content-type": "application/json"}
WATCH = "ws://127.0.0.1/api/v1/ws/events"
LIMIT = 4096


class UnavailableStore(MemoryStore):
    """A store whose database is unavailable."""

    def transaction(self):
        raise Retryable("Postgres: connection refused")

    def totals(self, now, *, only_numbered=False):
        raise Retryable("Postgres: connection refused")

    def probe(self):
        raise Retryable("Postgres: connection refused")


def client_on(store: MemoryStore, settings: Settings | None = None) -> TestClient:
    settings = settings or Settings(database_url="postgresql://nowhere", max_body_bytes=LIMIT, trust_loopback=True)
    return client_of(in_memory(store, settings))


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_on(MemoryStore()) as api_client:
        yield api_client


@pytest.fixture
def unavailable_api() -> Iterator[TestClient]:
    with client_on(UnavailableStore()) as api_client:
        yield api_client


def push(data: bytes = b'{"order_id":"ORD-1"}', **message) -> dict:
    return envelopes.pubsub_push(envelopes.pubsub_message(data=data, **message))


CLOUDEVENT = envelopes.cloudevent()


@pytest.mark.parametrize(
    ("url", "body", "status"),
    [
        (AWS, json.loads(eventbridge().body), 202),
        (GCP, push(), 200),
        (AZURE, json.loads(eventgrid().body), 200),
        (AZURE, [json.loads(eventgrid().body)], 200),
        (CLOUDEVENTS, CLOUDEVENT, 202),
    ],
    ids=["eventbridge", "pubsub", "eventgrid", "eventgrid array", "cloudevents"],
)
def test_a_webhook_stores_its_event_once(client, url, body, status):
    """A second delivery is also a success, with the status "duplicate"."""
    first, second = client.post(url, json=body), client.post(url, json=body)

    assert [(answer.status_code, answer.json()["status"]) for answer in (first, second)] == [
        (status, "stored"),
        (status, "duplicate"),
    ]


@pytest.mark.parametrize(
    "options", [{"dependencies": [Depends(lambda: None)]}, {}], ids=["for a dependency", "for a parameter"]
)
def test_a_webhook_that_needs_fastapi_is_refused_at_registration(options):
    """Webhooks bypass FastAPI, so a check that FastAPI would make must not be skipped silently."""
    routes = APIRouter()

    async def endpoint(request: Request) -> None: ...

    async def endpoint_with_parameter(request: Request, limit: int) -> None: ...

    routes.post("/here", **options)(endpoint if options else endpoint_with_parameter)

    with pytest.raises(TypeError, match="/here"):
        served(routes)


def test_a_stored_event_is_in_the_list_and_in_the_totals(client):
    client.post(AWS, content=eventbridge("test-123").body, headers=JSON)

    assert [event["id"] for event in client.get("/api/v1/events").json()["items"]] == ["test-123"]
    assert (
        client.get("/api/v1/events/aws/test-123", params={"producer": envelopes.EVENTBRIDGE_PRODUCER}).json()[
            "order_id"
        ]
        == "ORD-test-123"
    )
    stats = client.get("/api/v1/stats").json()
    assert (stats["total_events"], stats["last_24h"]) == (1, 1)
    assert stats["events_by_source"] == {"aws": 1, "gcp": 0, "azure": 0}


def test_counts_by_minute_cover_one_day_at_most(client):
    """The answer states the minute since which it is complete."""
    client.post(AWS, content=eventbridge("1").body, headers=JSON)
    since, before = "2026-01-02T03:04:05Z", datetime.now(UTC)
    answer = client.get("/api/v1/counts", params={"since": since}).json()

    assert [(count["source"], count["stored"]) for count in answer["minutes"]] == [("aws", 1)]
    a_day_later = datetime.fromisoformat(answer["since"]) + timedelta(hours=24)
    assert before - timedelta(minutes=1) < a_day_later <= datetime.now(UTC)
    assert client.get("/api/v1/counts", params={"since": "9999-01-01T00:00:00Z"}).json()["minutes"] == []
    assert client.get("/api/v1/counts", params={"since": "2026-01-02T03:04:05"}).status_code == 422


def test_an_array_has_one_result_per_element(client):
    """A bad element becomes a dead letter and does not make the cloud redeliver the others."""
    client.post(AZURE, content=eventgrid("1").body, headers=JSON)
    array = [json.loads(eventgrid(id_).body) for id_ in ("1", "2")] + [{"id": "3"}]
    answer = client.post(AZURE, json=array)

    assert answer.status_code == 200
    assert [result["status"] for result in answer.json()["results"]] == ["duplicate", "stored", "rejected"]
    assert answer.json()["results"][2]["field"] == "eventType"


@pytest.mark.parametrize(
    ("url", "content", "headers", "status", "field"),
    [
        (AWS, b'{"id":', JSON, 400, "body"),
        (AWS, b"", JSON, 400, "body"),
        (AWS, eventbridge().body.replace(b"10.0", b"NaN"), JSON, 400, "detail.amount"),
        (AWS, eventbridge().body.replace(b"ORD-1", b"\\u0000"), JSON, 400, "detail.order_id"),
        (AWS, b"\xff\xfe", JSON, 400, "body"),
        (AWS, b'{"detail-type":"T"}', JSON, 400, "id"),
        (AWS, eventbridge().body.replace(b"2025-11-26T", b"26.11. "), JSON, 400, "time"),
        (AWS, b" " * (LIMIT + 1), JSON, 413, "body"),
        (AWS, b"{}", {"content-type": "application/x-www-form-urlencoded"}, 415, "header content-type"),
        (AWS, b"{}", JSON | {"content-encoding": "gzip"}, 415, "header content-encoding"),
        (AZURE, b"[1]", JSON, 400, "body"),
        (CLOUDEVENTS, b"{}", JSON | {"ce-specversion": "1.0", "ce-id": "1"}, 400, "header ce-source"),
    ],
    ids=[
        *("cut off", "empty", "NaN", "NUL", "not UTF-8", "missing id", "bad time", "too large", "form"),
        *("compressed", "a number", "binary without source"),
    ],
)
def test_bad_input_is_a_problem_that_names_the_field_and_becomes_a_dead_letter(
    client, url, content, headers, status, field
):
    answer = client.post(url, content=content, headers=headers)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    dead_letters = client.get("/api/v1/dead-letters").json()["items"]
    assert [(dead_letter["field"], dead_letter["reason"]) for dead_letter in dead_letters] == [
        (field, answer.json()["errors"][0]["reason"])
    ]


@pytest.mark.parametrize(
    ("content", "headers", "field"),
    [
        (json.dumps(push(data=b"{", messageId="")).encode(), JSON, "message.messageId"),
        (json.dumps(push()).replace("eyJ", "!!!").encode(), JSON, "message.data"),
        (b" " * (LIMIT + 1), JSON, "body"),
        (b"{}", {"content-type": "text/html"}, "header content-type"),
    ],
    ids=["missing message id", "not base64", "too large", "form"],
)
def test_a_push_that_becomes_a_dead_letter_is_acknowledged(client, content, headers, field):
    """Pub/Sub repeats a message after every other answer, and holds back those behind it that have its ordering key."""
    answer = client.post(GCP, content=content, headers=headers)

    assert (answer.status_code, answer.json()["status"], answer.json()["field"]) == (200, "rejected", field)
    dead_letters = client.get("/api/v1/dead-letters").json()["items"]
    assert [(dead_letter["field"], dead_letter["attempts"]) for dead_letter in dead_letters] == [(field, 1)]


def test_a_path_with_a_slash_at_its_end_is_served(client):
    """No cloud follows a redirect."""
    assert client.post(f"{AWS}/", content=eventbridge().body, headers=JSON, follow_redirects=False).status_code == 202


@pytest.mark.parametrize("coding", ["Identity", "", "UTF-8"])
@pytest.mark.parametrize("content_type", ["application/json", "", "application/problem+json; charset=utf-8"])
def test_a_body_without_a_coding_is_read(client, coding, content_type):
    """Content codings and media types have no case, and an empty header names none."""
    headers = {"content-type": content_type, "content-encoding": coding}

    assert client.post(AWS, content=eventbridge().body, headers=headers).status_code == 202


def test_two_values_of_one_attribute_are_refused(client):
    """Either may be meant."""
    headers = [("content-type", "application/json"), ("ce-specversion", "1.0"), ("ce-source", "aws.shop")]
    twice = client.post(CLOUDEVENTS, content=b"{}", headers=[*headers, ("ce-id", "1"), ("ce-id", "2")])
    same = client.post(CLOUDEVENTS, content=b"{}", headers=[*headers, ("ce-type", "T"), ("ce-id", "1"), ("ce-id", "1")])

    assert (twice.status_code, twice.json()["errors"][0]["field"]) == (400, "header ce-id")
    assert same.status_code == 202


@pytest.mark.parametrize(
    ("url", "headers"),
    [(CLOUDEVENTS, {"content-type": "application/cloudevents-batch+json"}), (AZURE, JSON), (AWS, JSON)],
)
def test_an_empty_batch_has_no_results(client, url, headers):
    answer = client.post(url, content=b"[]", headers=headers)

    assert (answer.is_success, answer.json()) == (True, {"results": []})
    assert client.get("/api/v1/dead-letters").json()["items"] == []


def test_a_handshake_whose_data_is_text_is_answered(client):
    data = json.dumps({"validationCode": "code-1"})
    event = {"id": "1", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": data}

    assert client.post(AZURE, json=[event]).json() == {"validationResponse": "code-1"}


def test_events_are_found_by_their_attributes(client):
    """All of several attributes, each with exactly this value."""
    for number, tenant in enumerate(("t1", "t2"), start=1):
        event = CLOUDEVENT | {"id": str(number), "tenant": tenant, "traceparent": "00-a:b"}
        client.post(CLOUDEVENTS, json=event, headers={"content-type": "application/cloudevents+json"})

    def found(*attributes: str) -> list[str]:
        items = client.get("/api/v1/events", params={"attribute": list(attributes)}).json()["items"]
        return [item["id"] for item in items]

    assert found("tenant:t1") == ["1"]
    assert found("traceparent:00-a:b") == ["2", "1"]
    assert found("traceparent:00-a:b", "tenant:t2") == ["2"]
    assert found("tenant:t") == []
    assert client.get("/api/v1/events", params={"attribute": "tenant"}).status_code == 422


def test_a_parameter_that_is_too_long_is_measured_in_characters(client):
    answer = client.get("/api/v1/events", params={"type": "x" * (MAX_NAME_CHARS + 1)})
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        f"query.type: String should have at most {MAX_NAME_CHARS} characters",
    )


def test_a_dead_letter_is_served_with_its_whole_body(client):
    """The list has only the beginning of the body."""
    client.post(AWS, content=b"x" * 3000, headers=JSON)
    listed = client.get("/api/v1/dead-letters").json()["items"][0]
    dead_letter = client.get(f"/api/v1/dead-letters/{listed['id']}").json()

    assert (len(listed["body"]), len(dead_letter["body"]), listed["body_bytes"]) == (1000, 3000, 3000)


def test_headers_that_no_contract_reads_are_not_stored(client):
    """A dead letter must not store a sender's credentials."""
    client.post(AWS, content=b"x", headers=JSON | {"authorization": "Bearer secret", "ce-source": "s"})

    stored_headers = client.get("/api/v1/dead-letters").json()["items"][0]["headers"]
    assert stored_headers == {"content-type": "application/json", "ce-source": "s"}


def test_the_validation_code_of_event_grid_is_echoed(client):
    event = {
        "id": "1",
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": "2025-11-26T12:00:00Z",
        "subject": "",
        "data": {"validationCode": "512d38b6", "validationUrl": "https://example.com/never-followed"},
        "dataVersion": "2",
    }
    answer = client.post(AZURE, json=[event], headers={"aeg-event-type": "SubscriptionValidation"})

    assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})
    assert client.get("/api/v1/events").json()["items"] == []


@pytest.mark.parametrize("url", [CLOUDEVENTS, AZURE])
def test_the_cloudevents_handshake_is_answered(client, url):
    headers = {"WebHook-Request-Origin": "eventgrid.azure.net", "WebHook-Request-Rate": "120"}
    answer = client.options(url, headers=headers)

    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
    assert answer.headers["webhook-allowed-rate"] == "*"


def test_without_a_database_a_webhook_answers_503_with_retry_after(unavailable_api):
    answer = unavailable_api.post(AWS, content=eventbridge().body, headers=JSON)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["content-type"] == "application/problem+json"


def test_without_a_database_detailed_health_is_unhealthy(unavailable_api):
    answer = unavailable_api.get("/api/v1/health/detailed")

    assert answer.status_code == 503
    assert (answer.json()["status"], answer.json()["database"]) == ("unhealthy", "unhealthy")
    assert answer.json()["reasons"] == {"database": "Postgres: connection refused"}
    assert unavailable_api.get("/api/v1/health").status_code == 200
    assert unavailable_api.get("/api/v1/stats").status_code == 503


def test_detailed_health_names_every_component(client):
    health = client.get("/api/v1/health/detailed").json()

    components = {"database", "redis", "kafka", "log", "projector", "archive"}
    assert set(health) == {"status", *components, "uptime", "timestamp", "reasons"}
    assert {health[name] for name in components - {"database"}} == {"disabled"}
    assert (health["status"], health["redis"], health["kafka"], health["log"]) == ("healthy", *["disabled"] * 3)


def test_a_cursor_leads_to_the_next_page(client):
    for number in range(5):
        client.post(AWS, content=eventbridge(str(number)).body, headers=JSON)
    first = client.get("/api/v1/events", params={"limit": 3}).json()
    second = client.get("/api/v1/events", params={"limit": 3, "after": first["next_cursor"]}).json()

    assert [event["id"] for page in (first, second) for event in page["items"]] == ["4", "3", "2", "1", "0"]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("limit=0", 422, "query.limit"),
        ("limit=501", 422, "query.limit"),
        ("source=Mars", 422, "query.source"),
        ("since=yesterday", 422, "query.since"),
        ("since=2025-11-26T12:00:00", 422, "query.since"),
        ("until=0001-01-01T00:00:00%2B14:00", 422, "query.until"),
        ("type=%00", 422, "query.type"),
        ("after=zz", 400, "after"),
        ("after=5b5d", 400, "after"),
    ],
)
def test_a_bad_query_is_a_problem_that_names_the_parameter(client, query, status, field):
    answer = client.get(f"/api/v1/events?{query}")

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("url", ["/api/v1/events/aws/nothing", "/api/v1/dead-letters/1", "/nowhere"])
def test_an_unknown_resource_is_a_404_problem(client, url):
    answer = client.get(url)

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_an_event_id_may_contain_slashes(client):
    client.post(CLOUDEVENTS, json=CLOUDEVENT | {"id": "a/b?c"})

    assert client.get("/api/v1/events/aws/a/b%3Fc", params={"producer": CLOUDEVENT["source"]}).json()["id"] == "a/b?c"


def test_cors_admits_only_the_dashboard(client):
    def allowed(origin: str) -> str | None:
        return client.get("/api/v1/health", headers={"origin": origin}).headers.get("access-control-allow-origin")

    assert allowed("http://localhost:5173") == "http://localhost:5173"
    assert allowed("https://elsewhere.example") is None


def test_outcomes_are_served_to_prometheus(client):
    client.post(AWS, content=eventbridge().body, headers=JSON)
    client.post(AWS, content=b"{", headers=JSON)
    lines = client.get("/metrics").text.splitlines()

    assert 'helios_deliveries_total{channel="eventbridge",status="stored"} 1.0' in lines
    assert 'helios_deliveries_total{channel="eventbridge",status="rejected"} 1.0' in lines


def test_the_openapi_document_defines_every_schema_it_references(client):
    """A dangling reference breaks every client generator."""
    schema = client.get("/openapi.json").json()
    text = json.dumps(schema)
    references = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}

    assert references - set(schema["components"]["schemas"]) == set()
    assert client.get("/docs").status_code == 200


def test_notify_accepts_the_new_and_the_old_secret_during_a_rotation():
    """The URL is public."""
    store = MemoryStore()
    settings = Settings(database_url="postgresql://nowhere", notify_secret="new old", trust_loopback=True)
    with client_on(store, settings) as client:
        statuses = [
            client.post("/api/v1/relay/notify", headers=headers).status_code
            for headers in (
                {},
                *({"authorization": f"Bearer {secret}"} for secret in ("wrong", "new old", "new", "old")),
            )
        ]

    assert statuses == [401, 401, 401, 202, 202]


def test_notify_without_a_configured_secret_is_refused(client):
    assert client.post("/api/v1/relay/notify", headers={"authorization": "Bearer "}).status_code == 401


def test_frames_are_served_after_a_position(client):
    for number in range(3):
        client.post(AWS, content=eventbridge(str(number)).body, headers=JSON)
    page = client.get("/api/v1/frames", params={"after": 1, "limit": 1}).json()

    assert [(frame["position"], frame["events"][0]["id"]) for frame in page["frames"]] == [(2, "1")]
    assert (page["oldest"], page["position"]) == (1, 3)


def test_a_websocket_client_gets_a_hello_and_then_new_events(client):
    with client.websocket_connect(WATCH) as watcher:
        assert watcher.receive_json() == {"type": "hello", "position": 0}
        client.post(AWS, content=eventbridge("1").body, headers=JSON)
        message = watcher.receive_json()
        watcher.send_json({"type": "ping"})

        assert [event["id"] for frame in message["frames"] for event in frame["events"]] == ["1"]
        assert watcher.receive_json() == {"type": "pong", "position": 1}


def test_a_websocket_from_another_origin_is_refused(client):
    headers = {"origin": "https://headers.example"}
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(WATCH, headers=headers):
        pass


@pytest.mark.parametrize("id_", ["a/b", "a\nb", "\n1", "1\n", "ü €"])
def test_an_event_is_shown_whatever_its_id_contains(client, id_):
    client.post(AWS, content=eventbridge(id_).body, headers=JSON)

    answer = client.get(
        f"/api/v1/events/aws/{quote(id_, safe='')}", params={"producer": envelopes.EVENTBRIDGE_PRODUCER}
    )

    assert (answer.status_code, answer.json().get("id")) == (200, id_)


@pytest.mark.parametrize("coding", ["Identity", "IDENTITY", ""])
def test_a_body_without_a_content_coding_is_read_however_that_is_spelled(client, coding):
    """RFC 9110, section 8.4.1: content codings are case-insensitive."""
    answer = client.post(AWS, content=eventbridge().body, headers=JSON | {"content-encoding": coding})

    assert (answer.status_code, answer.json()["status"]) == (202, "stored")
