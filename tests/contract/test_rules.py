"""Legs with several parts and computed rules on every store: ingest, the sweep, silence, and a recompute."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.model.events import Delivery, EventFilter
from helios.model.flows import FlowFilter, FlowInstance
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evaluate import BEFORE
from helios.reconciliation.record import to_instance
from helios.services.ingest import ingest
from helios.services.recompute import recompute
from helios.services.reconciler import Reconciler
from helios.services.sweep import expire_flows
from tests.support.deliveries import NOON
from tests.support.rule_examples import example_flows, moment, part

with TemporaryDirectory() as _folder:
    FLOWS = example_flows(Path(_folder))
PARCELS, INSTALMENTS = FLOWS["parcels"], FLOWS["instalments"]
OVERDUE = moment(90)


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest):
    """Every store that Helios ships. Each passes every test below."""
    return request.getfixturevalue(f"{request.param}_store")


def ingest_all(store, flow: Flow, *deliveries: Delivery) -> None:
    for delivery in deliveries:
        ingest([delivery], dedupe=NullDedupeCache(), store=store, reconciler=Reconciler([flow]))


def sweep(store, flow: Flow, now=OVERDUE) -> int:
    return expire_flows(now, store=store, reconciler=Reconciler([flow]))


def instance(store, flow: Flow, key: str = "ORD-1") -> FlowInstance:
    return to_instance(Reconciler([flow]).evaluators[flow.name], store.flow((flow.name, key)))


def order_of_parcels(*numbers: int, key: str = "ORD-1", after: float = 0.0) -> list[Delivery]:
    """An order of three parcels of two pieces each, and some of the parcels."""
    parcels = [
        part(PARCELS, "shipment", key, id_=str(n), parcel={"number": f"P-{n}"}, quantity=2, after=after + n)
        for n in numbers
    ]
    return [part(PARCELS, "order", key, parcels=3, quantity=6, after=after), *parcels]


def test_the_deadline_decides_about_an_instance_that_matches_before(store):
    ingest_all(store, PARCELS, *order_of_parcels(1, 2, 3))
    record = store.flow(("parcels", "ORD-1"))
    assert (record.status, record.waiting) == ("matched", True)

    assert (sweep(store, PARCELS, moment(89)), sweep(store, PARCELS), sweep(store, PARCELS)) == (0, 1, 0)
    record = store.flow(("parcels", "ORD-1"))
    assert (record.status, record.waiting, instance(store, PARCELS).issues) == ("matched", False, [])


def test_a_lacking_parcel_is_missing_at_the_deadline_and_repaired_by_its_arrival(store):
    ingest_all(store, PARCELS, *order_of_parcels(1, 3))
    assert instance(store, PARCELS).status == "open"
    sweep(store, PARCELS)
    row = instance(store, PARCELS)
    assert (row.status, row.issues[0].detail) == ("incomplete", "shipment: 2 of 3 ParcelShipped from Azure")
    assert row.settled_at == OVERDUE

    ingest_all(store, PARCELS, *order_of_parcels(2, after=100)[1:])
    assert instance(store, PARCELS).status == "matched_late"


def test_the_new_kinds_of_issues_are_searched(store):
    ingest_all(store, PARCELS, *order_of_parcels(1, 2, 3, 4))
    sweep(store, PARCELS)

    for kind in ("excess", "mismatch"):
        (record,) = store.flows(FlowFilter(issue=(kind,)), after=None, limit=9).items
        assert record.status == "mismatched"
    assert store.flows(FlowFilter(issue=("gap",)), after=None, limit=9).items == []


def test_an_order_that_waits_for_a_silent_source_only_is_not_settled(store):
    """GCP stops: the instalments that lack are its own. An order that lacks nothing is settled as usual."""
    flow = INSTALMENTS

    def orders(begin: int, end: int, *, paid: tuple[int, ...]) -> None:
        for second in range(begin, end, 5):
            key = f"ORD-{second}"
            ingest_all(
                store,
                flow,
                part(flow, "order", key, amount=100, after=second),
                *(part(flow, "payment", key, id_=str(n), payment_id=n, amount=50, after=second) for n in paid),
            )

    orders(0, 300, paid=(1, 2))
    ingest_all(store, flow, part(flow, "payment", "ORD-305", id_="1", payment_id=1, amount=50, after=299))
    orders(300, 600, paid=())
    for second in range(300, 600, 10):
        sweep(store, flow, moment(second))

    evaluator = Reconciler([flow]).evaluators[flow.name]
    assert evaluator.awaited_sources(store.flow((flow.name, "ORD-305")).evidence_set) == {"gcp"}
    assert (instance(store, flow, "ORD-305").status, instance(store, flow, "ORD-305").legs[1].state) == (
        "open",
        "pending",
    )
    assert instance(store, flow, "ORD-0").status == "matched"
    assert not store.flow((flow.name, "ORD-0")).waiting


def test_a_recompute_applies_a_changed_number_of_parts(store):
    ingest_all(store, INSTALMENTS, part(INSTALMENTS, "order", amount=100))
    paid = [part(INSTALMENTS, "payment", id_=str(n), payment_id=n, amount=50) for n in (1, 2)]
    ingest_all(store, INSTALMENTS, *paid)
    sweep(store, INSTALMENTS)
    assert instance(store, INSTALMENTS).status == "matched"

    order, payment = INSTALMENTS.leg
    stricter = replace(INSTALMENTS, leg=(order, replace(payment, at_most=1)))
    changes = recompute(
        EventFilter(),
        NOON + timedelta(hours=1),
        flow=None,
        reader=store,
        store=store,
        reconciler=Reconciler([stricter]),
    ).changes
    assert changes == {("instalments", "ORD-1"): ("matched", "mismatched")}
    assert [issue.detail for issue in instance(store, stricter).issues] == ["payment: 2 arrived, 1 expected"]


def test_an_instance_that_waits_is_evaluated_as_before_its_deadline(store):
    """Whatever the order of arrival: the fourth parcel before the others, or after all of them had matched."""
    ingest_all(store, PARCELS, *order_of_parcels(1, 2, 3), *order_of_parcels(4)[1:])
    ingest_all(store, PARCELS, *order_of_parcels(4, 1, 2, 3, key="ORD-2"))
    evaluator = Reconciler([PARCELS]).evaluators["parcels"]

    for key in ("ORD-1", "ORD-2"):
        record = store.flow(("parcels", key))
        assert (record.status, record.waiting) == ("open", True)
        assert evaluator.verdict(record.evidence_set, now=BEFORE).awaited == ["cancellation"] * 2
