"""The contract of resolutions: what people decide stands beside the verdicts, and every step can be undone."""

from collections import Counter
from datetime import timedelta

import pytest
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.resolutions import PostgresResolutions
from helios.errors import Rejected
from helios.model.flows import FlowFilter
from helios.model.resolutions import (
    MAX_INSTANCES,
    InstanceName,
    ResolutionFilter,
    ResolutionRequest,
)
from helios.ports.resolutions import Resolutions
from helios.reconciliation.rule import Rule
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.resolutions import resolve
from helios.services.sweep import expire_flows
from tests.fakes.resolutions import MemoryResolutions
from tests.fakes.store import MemoryStore
from tests.support.deliveries import NOON
from tests.support.instances import ORDER, leg
from tests.support.rule_examples import part

NOW = NOON + timedelta(hours=1)
INCOMPLETE = ResolutionFilter(status=("incomplete",))


@pytest.fixture
def resolutions(store, request) -> Resolutions:
    if isinstance(store, MemoryStore):
        return MemoryResolutions(store)
    return PostgresResolutions(request.getfixturevalue("pool"))


@pytest.fixture
def orders(store):
    """Receives events, and then lets every deadline pass."""

    def receive(*deliveries):
        reconciler = Reconciler([ORDER])
        ingest(deliveries, dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
        expire_flows(NOW, store=store, reconciler=reconciler)

    return receive


def take(resolutions, step, *keys, where=None, at=NOW, **fields):
    """Take a step for the orders with these keys, or for those that a filter finds."""
    instances = tuple(InstanceName("order", key) for key in keys) or None
    fields.setdefault("text", None if step == "assign" else "known loss")
    request = ResolutionRequest(step=step, instances=instances, filter=where, **fields)
    return resolve(request, resolutions=resolutions, flows=["order"], actor="kim", now=at)


def state(resolutions, key="ORD-1"):
    found = resolutions.resolutions([("order", key)]).get(("order", key))
    return found and (found.state, found.reason, found.assignee)


def audit_log(store):
    return [(entry.subject, entry.detail) for entry in store.audit_log(limit=10).items]


def test_a_decision_stands_beside_the_verdict(resolutions, orders, store):
    orders(leg("order"))
    assert state(resolutions) is None

    action = take(resolutions, "accept", "ORD-1")

    assert (action.instances, action.actor, action.text) == (1, "kim", "known loss")
    assert state(resolutions) == ("accepted", "known loss", None)
    assert store.flow(("order", "ORD-1")).status == "incomplete"
    assert audit_log(store) == [(f"resolution {action.id}", "accept, 1 flow instances")]


def test_later_evidence_reopens(resolutions, orders):
    orders(leg("order"))
    take(resolutions, "write_off", "ORD-1")
    assert state(resolutions)[0] == "written_off"

    orders(leg("payment", after=300))

    assert state(resolutions)[0] == "reopened"
    take(resolutions, "accept", "ORD-1")
    assert state(resolutions)[0] == "accepted"


def test_a_deadline_that_changes_no_verdict_reopens_nothing(resolutions, store):
    """The order of the events is final at once; the instance waits for its deadline because more parts may come."""
    flow = replace(ORDER, rule=(Rule(before=("order", "payment")),))
    reconciler = Reconciler([flow])

    def receive(*deliveries):
        ingest(deliveries, dedupe=NullDedupeCache(), store=store, reconciler=reconciler)

    def unresolved():
        return sum(row.instances for row in resolutions.workload({"order": None}, now=NOW))

    keys = ("ORD-1", "ORD-2", "ORD-3")
    receive(*[leg(name, key) for key in keys for name in ("order", "inventory")])
    receive(*[part(flow, "payment", key, happened_after=-60) for key in keys])
    take(resolutions, "accept", "ORD-1", "ORD-3")
    undone = take(resolutions, "reopen", "ORD-3")
    expire_flows(NOW, store=store, reconciler=reconciler)
    resolutions.undo(undone.id, actor="kim", now=NOW)

    records = [store.flow(("order", key)) for key in keys]
    assert [(each.status, each.waiting, each.resolved) for each in records] == [
        ("mismatched", False, True),
        ("mismatched", False, False),
        ("mismatched", False, True),
    ]
    assert [state(resolutions, key) and state(resolutions, key)[0] for key in keys] == ["accepted", None, "accepted"]
    found = store.flows(FlowFilter(resolution=("accepted",)), after=None, limit=50).items
    assert {record.key for record in found} == {"ORD-1", "ORD-3"}
    assert unresolved() == 1

    receive(leg("payment", "ORD-1", id_="2", after=5000))
    assert state(resolutions)[0] == "reopened"
    assert unresolved() == 2


def test_a_deadline_that_changes_the_verdict_reopens(resolutions, store):
    reconciler = Reconciler([ORDER])
    ingest([leg("order")], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
    take(resolutions, "accept", "ORD-1")
    assert state(resolutions)[0] == "accepted"

    expire_flows(NOW, store=store, reconciler=reconciler)

    assert store.flow(("order", "ORD-1")).status == "incomplete"
    assert state(resolutions)[0] == "reopened"


def test_every_step_and_its_undo(resolutions, orders):
    orders(leg("order"))
    steps: list[tuple[str, dict[str, str | None], tuple[str, str | None, str | None]]] = [
        ("assign", {"assignee": "lee"}, ("unresolved", None, "lee")),
        ("note", {"text": "asked the carrier"}, ("unresolved", None, "lee")),
        ("accept", {"text": "small"}, ("accepted", "small", "lee")),
        ("write_off", {"text": "lost"}, ("written_off", "lost", "lee")),
        ("reopen", {"text": "found"}, ("unresolved", "found", "lee")),
        ("assign", {"assignee": None}, ("unresolved", "found", None)),
    ]
    actions = []
    for step, fields, after in steps:
        actions.append(take(resolutions, step, "ORD-1", **fields))
        assert state(resolutions) == after
    before = [None, *(after for _, _, after in steps)]
    for action, former in zip(reversed(actions), reversed(before[:-1]), strict=True):
        assert resolutions.undo(action.id, actor="lee", now=NOW).instances == 1
        assert state(resolutions) == former

    history = resolutions.actions(instance=("order", "ORD-1"), after=None, limit=50).items
    assert [each.step for each in history] == ["undo"] * 6 + [step for step, _, _ in reversed(steps)]
    assert [each.undone_by for each in history[:6]] == [None] * 6
    assert all(each.undone_by for each in history[6:])


def test_an_undo_leaves_what_a_later_action_has_changed(resolutions, orders):
    orders(leg("order", "ORD-1"), leg("order", "ORD-2"))
    first = take(resolutions, "accept", "ORD-1", "ORD-2")
    take(resolutions, "write_off", "ORD-2")

    undo = resolutions.undo(first.id, actor="lee", now=NOW)

    assert (undo.instances, undo.skipped, undo.undoes) == (1, 1, first.id)
    assert state(resolutions, "ORD-1") is None
    assert state(resolutions, "ORD-2")[0] == "written_off"


def test_an_undo_can_not_be_undone_nor_repeated(resolutions, orders):
    orders(leg("order"))
    action = take(resolutions, "accept", "ORD-1")
    undo = resolutions.undo(action.id, actor="kim", now=NOW)

    with pytest.raises(Rejected, match="was undone already"):
        resolutions.undo(action.id, actor="kim", now=NOW)
    with pytest.raises(Rejected, match="is an undo itself"):
        resolutions.undo(undo.id, actor="kim", now=NOW)
    assert resolutions.undo(undo.id + 1, actor="kim", now=NOW) is None


def test_a_filter_selects_by_resolution_and_assignee(resolutions, orders, store):
    orders(*[leg("order", f"ORD-{number}") for number in range(6)])
    take(resolutions, "accept", "ORD-0", "ORD-1")
    take(resolutions, "assign", "ORD-2", assignee="lee")
    orders(leg("payment", "ORD-1"))

    def keys(**where):
        return {row.key for row in store.flows(FlowFilter(**where), after=None, limit=50).items}

    assert keys(resolution=("accepted",)) == {"ORD-0"}
    assert keys(resolution=("reopened",)) == {"ORD-1"}
    assert keys(resolution=("unresolved",)) == {"ORD-2", "ORD-3", "ORD-4", "ORD-5"}
    assert keys(assignee="lee") == {"ORD-2"}
    action = take(resolutions, "write_off", where=replace(INCOMPLETE, resolution=("unresolved",)))
    assert action.instances == 4
    assert keys(resolution=("written_off",)) == {"ORD-2", "ORD-3", "ORD-4", "ORD-5"}


def test_a_dry_run_counts_and_changes_nothing(resolutions, orders, store):
    orders(leg("order", "ORD-1"), leg("order", "ORD-2"))

    action = take(resolutions, "accept", where=INCOMPLETE, dry_run=True)

    assert (action.id, action.instances) == (None, 2)
    assert state(resolutions) is None
    assert audit_log(store) == []


def test_thousands_are_resolved_in_one_action_and_undone_in_one(resolutions, orders, store):
    orders(*[leg("order", f"ORD-{number}", id_=str(number)) for number in range(1200)])

    action = take(resolutions, "accept", where=INCOMPLETE)

    assert action.instances == 1200
    assert resolutions.workload({"order": None}, now=NOW) == []
    assert resolutions.undo(action.id, actor="kim", now=NOW).instances == 1200
    (work,) = resolutions.workload({"order": None}, now=NOW)
    assert work.instances == 1200


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"step": "accept", "text": "x"}, "filter", "is needed, or instances"),
        ({"step": "accept", "text": "x", "filter": ResolutionFilter()}, "filter", "has no condition"),
        ({"step": "accept", "filter": INCOMPLETE}, "text", "is missing"),
        ({"step": "note", "text": " ", "filter": INCOMPLETE}, "text", "is missing"),
        ({"step": "reopen", "assignee": "lee", "filter": INCOMPLETE}, "assignee", "applies to the step assign"),
        ({"step": "reopen", "filter": replace(INCOMPLETE, flow="other")}, "filter.flow", "is no flow that you can see"),
        ({"step": "reopen", "filter": replace(INCOMPLETE, key="X")}, "filter", "matches no flow instance"),
        ({"step": "reopen", "instances": (InstanceName("x", "X"),)}, "instances", "has no flow instance x/X"),
        ({"step": "reopen", "instances": (InstanceName("order", "X"),)}, "instances", "has no flow instance order/X"),
    ],
)
def test_a_request_whose_parts_do_not_fit_is_refused(resolutions, fields, field, reason):
    with pytest.raises(Rejected, match=reason) as refused:
        resolve(ResolutionRequest(**fields), resolutions=resolutions, flows=["order"], actor="kim", now=NOW)
    assert refused.value.field == field


def test_who_sees_no_flow_changes_nothing(resolutions, orders):
    orders(leg("order"))
    request = ResolutionRequest(step="reopen", filter=INCOMPLETE)
    with pytest.raises(Rejected, match="matches no flow instance"):
        resolve(request, resolutions=resolutions, flows=[], actor="kim", now=NOW)


def test_more_instances_than_the_limit_are_refused(resolutions, orders, monkeypatch):
    for module in ("helios.adapters.postgres.resolutions", "tests.fakes.resolutions"):
        monkeypatch.setattr(f"{module}.MAX_INSTANCES", 1)
    assert MAX_INSTANCES > 5000
    orders(leg("order", "ORD-1"), leg("order", "ORD-2"))

    with pytest.raises(Rejected, match="narrow it"):
        take(resolutions, "accept", where=INCOMPLETE)


def test_the_workload_is_counted_by_age_and_assignee(resolutions, orders):
    orders(leg("order", "old"), leg("order", "new", after=3000), leg("order", "mine", after=3000))
    take(resolutions, "assign", "mine", assignee="lee")

    counted = {
        (work.older_than_seconds, work.assignee): (work.instances, work.overdue)
        for work in resolutions.workload({"order": 1800, "other": None}, now=NOW)
    }

    assert counted == {(3600, None): (1, 1), (0, None): (1, 0), (0, "lee"): (1, 0)}


@pytest.mark.parametrize("store", ["postgres"], indirect=True)
def test_resolutions_are_removed_with_their_instance(resolutions, orders, pool):
    orders(leg("order"))
    action = take(resolutions, "accept", "ORD-1")

    with pool.connection() as connection:
        connection.execute("DELETE FROM flow_instances")

    assert state(resolutions) is None
    assert Counter(each.id for each in resolutions.actions(instance=None, after=None, limit=5).items) == {action.id: 1}
    assert resolutions.undo(action.id, actor="kim", now=NOW).skipped == 1
