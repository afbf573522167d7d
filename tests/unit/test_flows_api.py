"""The API's answers about flow instances."""

from datetime import UTC, datetime, timedelta

import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.sweep import expire_flows
from tests.fakes.store import MemoryOutbox, MemoryStore
from tests.support.deliveries import NOON
from tests.support.instances import ORDER, leg
from tests.support.services import client_of, in_memory

RECONCILER = Reconciler([ORDER])
A_WEEK = timedelta(days=7)


@pytest.fixture
def store() -> MemoryStore:
    """Four orders: one matches, one has a different amount, one misses two legs, one is open."""
    store = MemoryStore()
    now = (datetime.now(UTC) - NOON).total_seconds()

    def ingest_all(*deliveries) -> None:
        ingest(deliveries, dedupe=NullDedupeCache(), store=store, reconciler=RECONCILER)

    ingest_all(leg("order", after=now - 300), leg("payment", after=now - 299), leg("inventory", after=now - 298))
    ingest_all(leg("order", "ORD-2", after=now - 200), leg("payment", "ORD-2", amount=7, after=now - 200))
    ingest_all(leg("inventory", "ORD-2", after=now - 199))
    ingest_all(leg("order", "ORD-3", after=now - 150))
    ingest_all(leg("payment", "ORD-4", after=now - 1))
    expire_flows(datetime.now(UTC), store=store, reconciler=RECONCILER)
    return store


@pytest.fixture
def get(store):
    """Ask the API, and return the answer's status and body."""
    with client_of(in_memory(store)) as client:

        def get(path: str, **query):
            answer = client.get(f"/api/v1/flows{path}", params=query)
            return answer.status_code, answer.json()

        yield get


def test_flow_instances_are_listed_newest_first_and_filtered_by_verdict(get):
    assert [item["key"] for item in get("")[1]["items"]] == ["ORD-4", "ORD-3", "ORD-2", "ORD-1"]
    problems = get("", status=["mismatched", "incomplete"])[1]["items"]
    assert [(item["key"], item["status"]) for item in problems] == [("ORD-3", "incomplete"), ("ORD-2", "mismatched")]
    assert [item["key"] for item in get("", issue="mismatch")[1]["items"]] == ["ORD-2"]
    assert [item["key"] for item in get("", key="ORD-1")[1]["items"]] == ["ORD-1"]
    first = get("", limit=3)[1]
    assert [item["key"] for item in get("", after=first["next_cursor"])[1]["items"]] == ["ORD-1"]


def test_a_flow_instance_has_its_events_and_its_timeline(get):
    status, instance = get("/order/ORD-2")

    assert (status, instance["status"], instance["amount"]) == (200, "mismatched", "10")
    assert [event["type"] for event in instance["events"]] == ["OrderPlaced", "PaymentProcessed", "InventoryReserved"]
    assert [(step["what"], step["status"]) for step in instance["timeline"]] == [
        ("opened", None),
        ("leg", None),
        ("leg", None),
        ("verdict", "mismatched"),
        ("leg", None),
    ]
    assert instance["issues"][0]["detail"] == "amount: AWS ordered 10, GCP charged 7"
    assert [(step["what"], step["version"]) for step in get("/order/ORD-3")[1]["timeline"]] == [
        ("opened", None),
        ("leg", None),
        ("verdict", 1),
        ("deadline", None),
        ("verdict", 2),
    ]


def test_the_summary_is_the_sum_of_all_flow_instances(get):
    summary = get("/summary")[1]

    assert (summary["total"], summary["match_rate"]) == (4, 1 / 3)
    assert summary["by_status"] == {"open": 1, "matched": 1, "matched_late": 0, "mismatched": 1, "incomplete": 1}
    assert summary["amount_at_risk"] == [{"currency": "EUR", "amount": "20"}]
    assert summary["seen_on"] == {"1": 2, "2": 0, "3": 2}
    assert {kind: count for kind, count in summary["issues"].items() if count} == {"missing": 1, "mismatch": 1}
    assert 0 < summary["oldest_open_seconds"] < 60
    assert sum(point["settled"] for point in summary["trend"]) == 3
    assert sum(point["matched"] for point in summary["trend"]) == 1


def test_frames_get_their_position_before_the_summary_is_read(store, get, monkeypatch):
    """The sums at a position are those of its frames, and the stream adds the later ones."""
    read, numbered_outboxes = store.flow_sums, list[MemoryOutbox]()

    def number(outbox: MemoryOutbox) -> None:
        numbered_outboxes.append(outbox)

    def numbered(*arguments, **period):
        assert numbered_outboxes
        return read(*arguments, **period)

    monkeypatch.setattr(MemoryOutbox, "catch_up", number)
    monkeypatch.setattr(store, "flow_sums", numbered)
    assert get("/summary")[1]["position"] == store.position


def test_a_period_limits_the_summary(get):
    now = datetime.now(UTC)
    assert (
        get("/summary", since=(now - A_WEEK).isoformat(), until=(now - timedelta(days=1)).isoformat())[1]["total"] == 0
    )
    assert get("/summary", since=now.isoformat(), until=(now - A_WEEK).isoformat())[0] == 422


def test_issues_are_listed_newest_first(get):
    issues = get("/issues")[1]["items"]
    assert [(item["key"], item["kind"]) for item in issues] == [
        ("ORD-3", "missing"),
        ("ORD-3", "missing"),
        ("ORD-2", "mismatch"),
    ]
    assert [item["key"] for item in get("/issues", kind="mismatch")[1]["items"]] == ["ORD-2"]


def test_the_declared_flows_are_served(get):
    (flow,) = get("/declarations")[1]
    assert [leg["name"] for leg in flow["leg"]] == ["order", "payment", "inventory"]


@pytest.mark.parametrize("path", ["/order/ORD-9", "/refund/ORD-1"])
def test_an_unknown_flow_instance_is_a_404(get, path):
    status, problem = get(path)
    assert status == 404
    assert path.split("/")[1] in problem["detail"]


@pytest.mark.parametrize("query", [{"status": "lost"}, {"issue": "odd"}, {"limit": 0}, {"since": "yesterday"}])
def test_an_invalid_parameter_is_refused_by_name(get, query):
    status, problem = get("", **query)
    assert status == 422
    assert next(iter(query)) in problem["errors"][0]["field"]


def test_an_invalid_cursor_is_refused(get):
    assert get("", after="nonsense")[0] == 400
