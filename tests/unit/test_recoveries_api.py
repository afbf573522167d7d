"""The routes of recoveries: why legs are missing, and starting to bring them back."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from helios.model.access import Visibility
from helios.model.tokens import PREFIX, Token, digest
from helios.services.ingest import ingest
from helios.services.sweep import expire_flows
from tests.fakes.places import MemoryPlace
from tests.fakes.store import MemoryStore
from tests.support.instances import leg
from tests.support.services import bearer, client_of, in_memory

START = {"flow": "order", "key": "ORD-1", "leg": "payment"}
PATH = "/api/v1/recoveries"


@pytest.fixture
def services():
    store = MemoryStore()
    services = replace(in_memory(store), places={"gcp": [MemoryPlace()]})
    legs = [replace(leg(name), received_at=datetime.now(UTC) - timedelta(hours=1)) for name in ("order", "inventory")]
    ingest(legs, dedupe=services.dedupe, store=store, reconciler=services.reconciler)
    expire_flows(datetime.now(UTC), store=store, reconciler=services.reconciler)
    return services


@pytest.fixture
def api(services):
    return client_of(services)


def test_a_diagnosis_names_the_leg_and_what_is_to_be_configured(api):
    (diagnosis,) = api.get("/api/v1/diagnoses", params={"flow": "order", "key": "ORD-1"}).json()
    assert (diagnosis["leg"], diagnosis["source"], diagnosis["finding"]) == ("payment", "gcp", "unknown")
    assert diagnosis["places"] == ["the shelf"]


def test_without_a_place_a_recovery_says_what_to_configure(services):
    answer = client_of(replace(services, places={})).post(PATH, json=START)
    assert answer.status_code == 409
    assert answer.json()["errors"][0]["field"] == "leg"
    assert "search gcp for it, name places in HELIOS_RECOVERY_PLACES" in answer.json()["detail"]


def test_a_recovery_is_started_read_and_listed(api):
    answer = api.post(PATH, json=START)
    assert answer.status_code == 201
    assert (answer.json()["actor"], answer.json()["state"]) == ("local", "running")
    assert api.get(f"{PATH}/{answer.json()['id']}").json() == answer.json()
    assert api.get(PATH, params={"flow": "order", "key": "ORD-1"}).json()["items"] == [answer.json()]
    assert api.get(PATH, params={"flow": "order", "key": "ORD-2"}).json()["items"] == []
    assert api.post(PATH, json=START).status_code == 409


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"leg": "order"}, 409, "leg"),
        ({"key": "ORD-2"}, 404, "key"),
        ({"flow": "other"}, 404, "key"),
        ({"leg": "other"}, 409, "leg"),
        ({"leg": ""}, 422, None),
        ({"surplus": 1}, 422, None),
    ],
)
def test_a_wrong_request_names_its_field(api, change, status, field):
    answer = api.post(PATH, json=START | change)
    assert answer.status_code == status
    if field:
        assert answer.json()["errors"][0]["field"] == field
    assert api.get(PATH).json()["items"] == []


def test_an_unknown_instance_or_recovery_is_not_found(api):
    assert api.get("/api/v1/diagnoses", params={"flow": "order", "key": "ORD-9"}).status_code == 404
    assert api.get(f"{PATH}/9").status_code == 404
    assert api.get(PATH, params={"flow": "order"}).status_code == 422


@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("resolve", 403), ("replay", 201), ("admin", 201)])
def test_starting_needs_the_scope_replay(services, scope, status):
    api = client_of(services, sender="10.0.0.1")
    assert api.post(PATH, json=START, headers=bearer(scope)).status_code == status


def test_a_limited_token_sees_the_diagnoses_of_its_flows_only(services):
    key = f"{PREFIX}limited"
    limited = Visibility(flows=("other",))
    token = Token(name="limited", scopes=("replay", "read"), created_at=datetime.now(UTC), visibility=limited)
    services.tokens.add(digest(key), token)
    api = client_of(services, sender="10.0.0.1")
    headers = {"authorization": f"Bearer {key}"}
    assert api.post(PATH, json=START, headers=headers).status_code == 403
    diagnoses = api.get("/api/v1/diagnoses", params={"flow": "order", "key": "ORD-1"}, headers=headers)
    assert diagnoses.status_code == 404
    assert api.get(PATH, headers=headers).status_code == 403
