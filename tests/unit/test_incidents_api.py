"""The routes of incidents, on services in memory."""

from datetime import timedelta
from typing import Any

import pytest

from helios.model.flows import Money
from helios.model.incidents import Cause, Incident
from tests.fakes.store import MemoryStore
from tests.support.deliveries import NOON
from tests.support.services import bearer, client_of, in_memory

PATH = "/api/v1/incidents"
OPEN = Incident(
    id=1,
    cause=Cause(kind="flow", flow="order", issue="missing", legs=("payment",)),
    title="order: missing: payment",
    severity="error",
    opened_at=NOON,
    seen_at=NOON,
    number=3,
    amounts=[Money(currency="EUR", amount=30)],  # type: ignore[arg-type]  # a number, as a decimal is compared
)
RESOLVED = Incident(
    id=2,
    cause=Cause(kind="silence", source="gcp"),
    title="GCP is silent",
    severity="critical",
    opened_at=NOON,
    seen_at=NOON,
    resolved_at=NOON + timedelta(minutes=5),
    resolution="The source sends again",
)


@pytest.fixture
def client():
    services = in_memory(MemoryStore())
    services.incidents.by_id.update({1: OPEN, 2: RESOLVED})  # type: ignore[attr-defined]  # the fake's
    return client_of(services)


def ids(answer: Any) -> list[int]:
    return [item["id"] for item in answer.json()["items"]]


def test_incidents_are_listed_by_state_kind_flow_and_source(client):
    assert ids(client.get(PATH)) == [2, 1]
    assert ids(client.get(f"{PATH}?state=open")) == [1]
    assert ids(client.get(f"{PATH}?kind=silence&source=gcp")) == [2]
    assert ids(client.get(f"{PATH}?flow=order&snoozed=true")) == []
    assert client.get(f"{PATH}?state=lost").status_code == 422


def test_a_user_works_on_an_open_incident(client):
    until = "2100-01-01T00:00:00Z"
    assert client.post(f"{PATH}/1/acknowledge").json()["acknowledged_by"] == "local"
    assert client.post(f"{PATH}/1/snooze", json={"until": until}).json()["snoozed_until"] == until
    incident = client.post(f"{PATH}/1/assign", json={"assignee": "payments"}).json()

    assert (incident["assignee"], incident["acknowledged_by"]) == ("payments", "local")
    assert client.get(f"{PATH}/1").json() == incident
    audited = client.get("/api/v1/audit").json()["items"]
    assert [(entry["actor"], entry["action"], entry["subject"]) for entry in audited] == [
        ("local", f"incident_{action}", "incident 1") for action in ("assigned", "snoozed", "acknowledged")
    ]
    withdrawn = client.post(f"{PATH}/1/acknowledge", json={"acknowledged": False}).json()
    assert (withdrawn["acknowledged_by"], withdrawn["acknowledged_at"]) == (None, None)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("1/snooze", {"until": "2100-01-01T00:00:00"}, 422, "until"),
        ("1/snooze", {}, 422, "until"),
        ("1/assign", {"assignee": ""}, 422, "assignee"),
        ("1/acknowledge", {"acknowleged": True}, 422, "acknowleged"),
        ("2/acknowledge", None, 409, "Incident 2 is resolved"),
        ("3/acknowledge", None, 404, "No incident has the id 3."),
    ],
)
def test_a_request_that_can_not_be_applied_says_why(client, path, body, status, words):
    answer = client.post(f"{PATH}/{path}", json=body)

    assert answer.status_code == status
    assert words in answer.text


@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("replay", 403), ("resolve", 200), ("admin", 200)])
def test_working_on_an_incident_needs_the_scope_resolve(client, scope, status):
    assert client.post(f"{PATH}/1/acknowledge", headers=bearer(scope)).status_code == status
    assert client.get(f"{PATH}/1", headers=bearer(scope)).status_code == 200
