"""The examples of docs/flows.md do what the document says."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.model.events import Delivery
from helios.model.flows import FlowInstance
from helios.reconciliation.declaration import Flow
from helios.reconciliation.leg import Leg
from helios.reconciliation.record import to_instance
from helios.reconciliation.rule import Rule
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.sweep import expire_flows
from tests.fakes.store import MemoryStore
from tests.support.rule_examples import example_flows, moment, part

OVERDUE = 90.0


@pytest.fixture
def flows(tmp_path) -> dict[str, Flow]:
    return example_flows(tmp_path)


def instance_of(flow: Flow, *deliveries: Delivery, overdue: bool = False, key: str = "ORD-1") -> FlowInstance:
    """The instance that follows from the deliveries, before its deadline or after it."""
    store, reconciler = MemoryStore(), Reconciler([flow])
    for delivery in deliveries:
        ingest([delivery], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
    if overdue:
        expire_flows(moment(OVERDUE), store=store, reconciler=reconciler)
    record = store.flow((flow.name, key))
    assert record
    return to_instance(reconciler.evaluators[flow.name], record)


def outcome(row: FlowInstance) -> tuple[str, list[str]]:
    return row.status, [issue.kind for issue in row.issues]


def test_the_document_has_an_example_of_each_kind(flows):
    assert list(flows) == ["parcels", "refunds", "instalments", "currencies", "sequences"]


class TestParcels:
    @pytest.fixture
    def order(self, flows) -> Callable[..., list[Delivery]]:
        """An order of three parcels and six pieces, and some of its parcels."""
        flow = flows["parcels"]

        def order(*parcels: int, **changed) -> list[Delivery]:
            return [
                part(flow, "order", parcels=3, quantity=6),
                *(
                    part(
                        flow, "shipment", id_=str(number), parcel={"number": f"P-{number}"}, **{"quantity": 2} | changed
                    )
                    for number in parcels
                ),
            ]

        return order

    def test_a_second_parcel_is_no_contradiction(self, flows, order):
        row = instance_of(flows["parcels"], *order(1, 2, 3))
        assert outcome(row) == ("matched", [])
        assert [(leg.parts, leg.expected, leg.state) for leg in row.legs][2] == (3, 3, "present")

    def test_an_order_stays_open_until_the_deadline_while_parcels_lack(self, flows, order):
        row = instance_of(flows["parcels"], *order(1, 2))
        assert (outcome(row), row.legs[2].state) == (("open", []), "pending")

        row = instance_of(flows["parcels"], *order(1, 2), overdue=True)
        assert (outcome(row), row.legs[2].state) == (("incomplete", ["missing"]), "missing")
        assert row.issues[0].detail == "shipment: 2 of 3 ParcelShipped from Azure"
        assert row.issues[0].values == {"shipment": "2", "expected": "3"}

    def test_a_parcel_too_many_is_excess_unless_the_deadline_has_not_passed(self, flows, order):
        """A cancellation could only lower the number, but Helios does not reason about signs: it waits."""
        assert outcome(instance_of(flows["parcels"], *order(1, 2, 3, 4))) == ("open", [])
        row = instance_of(flows["parcels"], *order(1, 2, 3, 4), overdue=True)
        assert outcome(row) == ("mismatched", ["excess", "mismatch"])
        assert row.issues[0].detail == "shipment: 4 arrived, 3 expected"

    def test_a_cancellation_changes_what_is_expected(self, flows, order):
        flow = flows["parcels"]
        cancelled = part(flow, "cancellation", cancellation_id="C-1", parcels=1, quantity=2)
        for overdue in (False, True):
            assert outcome(instance_of(flow, cancelled, *order(1, 2), overdue=overdue)) == ("matched", [])
        assert outcome(instance_of(flow, *order(1, 2, 3), cancelled, overdue=True)) == (
            "mismatched",
            ["excess", "mismatch"],
        )

    @pytest.mark.parametrize(
        ("quantity", "before", "after"),
        [(6, ("matched", []), ("matched", [])), (4, ("open", []), ("mismatched", ["mismatch"]))],
    )
    def test_of_an_order_whose_parcels_are_all_cancelled_the_sum_is_0(self, flows, order, quantity, before, after):
        flow = flows["parcels"]
        cancelled = part(flow, "cancellation", cancellation_id="C-1", parcels=3, quantity=quantity)
        assert outcome(instance_of(flow, *order(), cancelled)) == before
        row = instance_of(flow, *order(), cancelled, overdue=True)
        assert outcome(row) == after
        if row.issues:
            assert row.issues[0].values == {
                "sum(shipment.quantity)": "0",
                "order.quantity - sum(cancellation.quantity)": "2",
            }

    def test_a_number_of_parts_counts_a_leg_of_which_none_is_expected_as_0(self, flows, order):
        """Each parcel is scanned, and each scan is confirmed; without parcels, neither is expected."""
        flow = flows["parcels"]
        scan = Leg(name="scan", type="ParcelScanned", many=True, id="scan_id", count="count(shipment)")
        confirmed = replace(scan, name="confirmed", type="ScanConfirmed", count="count(scan)")
        flow = replace(flow, leg=(*flow.leg, confirmed, scan), rule=(Rule(equal=("count(scan)", "order.scans")),))
        placed = part(flow, "order", parcels=3, scans=0)
        cancelled = part(flow, "cancellation", cancellation_id="C-1", parcels=3)
        assert outcome(instance_of(flow, placed, cancelled, overdue=True)) == ("matched", [])
        assert outcome(instance_of(flow, placed, overdue=True)) == ("incomplete", ["missing"] * 3)

    def test_numbers_of_parts_that_depend_on_each_other_expect_a_part(self, flows):
        flow = flows["parcels"]
        order, _, shipment = flow.leg
        scan = Leg(name="scan", type="ParcelScanned", many=True, id="scan_id", count="count(shipment)")
        flow = replace(flow, leg=(order, replace(shipment, count="count(scan)"), scan), rule=())
        placed, scanned = part(flow, "order"), part(flow, "scan", scan_id="S-1")
        shipped = part(flow, "shipment", parcel={"number": "P-1"})
        assert outcome(instance_of(flow, placed, overdue=True)) == ("incomplete", ["missing"] * 2)
        assert outcome(instance_of(flow, placed, scanned, overdue=True)) == ("incomplete", ["missing"])
        assert outcome(instance_of(flow, placed, shipped, scanned, overdue=True)) == ("matched", [])

    def test_quantities_are_added_over_the_parcels(self, flows, order):
        row = instance_of(flows["parcels"], *order(1, 2, 3, quantity=1), overdue=True)
        assert outcome(row) == ("mismatched", ["mismatch"])
        assert row.issues[0].detail == (
            "sum(shipment.quantity) is 3, but order.quantity - sum(cancellation.quantity) is 6"
        )

    def test_the_same_parcel_twice_is_a_duplicate_and_a_changed_one_a_contradiction(self, flows, order):
        again = order(1)[1]
        row = instance_of(flows["parcels"], *order(1, 2, 3), again)
        assert outcome(row) == ("matched", ["duplicate"])
        assert row.issues[0].detail == "shipment: Azure sent 3 parts in 4 deliveries"

        changed = part(
            flows["parcels"], "shipment", id_="9", parcel={"number": "P-1"}, quantity=2, carrier="other", after=1
        )
        row = instance_of(flows["parcels"], *order(1, 2, 3), changed)
        assert outcome(row) == ("matched", ["contradictory"])
        assert row.issues[0].detail == "shipment P-1: Azure contradicts itself: carrier is absent and other"

    def test_a_contradictory_quantity_breaks_the_sum(self, flows, order):
        changed = part(flows["parcels"], "shipment", id_="9", parcel={"number": "P-1"}, quantity=5, after=1)
        row = instance_of(flows["parcels"], *order(1, 2, 3), changed, overdue=True)
        assert outcome(row) == ("mismatched", ["mismatch", "contradictory"])
        assert row.issues[0].values["sum(shipment.quantity)"] == "6 to 9"

    def test_the_key_of_a_leg_has_several_paths(self, flows):
        flow = flows["parcels"]
        shipment = flow.leg[2]
        assert flow.keys_of(shipment) == ("reference", "order_id")
        row = instance_of(
            flow,
            part(flow, "order", parcels=1, quantity=2),
            part(flow, "shipment", "", order_id="ORD-1", parcel={"number": "P-1"}, quantity=2),
        )
        assert outcome(row) == ("matched", [])

    @pytest.mark.parametrize(("happened_after", "kinds"), [(-2, []), (-2.5, ["out_of_order"]), (5, [])])
    def test_a_parcel_that_precedes_its_order_is_out_of_order(self, flows, happened_after, kinds):
        flow = flows["parcels"]
        row = instance_of(
            flow,
            part(flow, "order", parcels=1, quantity=2),
            part(flow, "shipment", parcel={"number": "P-1"}, quantity=2, happened_after=happened_after),
        )
        assert outcome(row) == ("mismatched" if kinds else "matched", kinds)
        if kinds:
            assert row.issues[0].detail == "shipment: happened 2.500 s before order"

    def test_the_last_expected_parcel_decides_whether_the_order_is_late(self, flows, order):
        third = part(flows["parcels"], "shipment", id_="3", parcel={"number": "P-3"}, quantity=2, after=40)
        row = instance_of(flows["parcels"], *order(1, 2), third)
        assert (outcome(row), row.time_to_match_seconds) == (("matched_late", ["late"]), 40)

    def test_an_order_that_does_not_say_its_parcels_is_a_mismatch(self, flows):
        row = instance_of(flows["parcels"], part(flows["parcels"], "order", quantity=2))
        assert outcome(row) == ("mismatched", ["mismatch"])
        assert row.issues[0].detail == "shipment: count can't be read: order.parcels is absent"


class TestRefunds:
    @pytest.mark.parametrize(
        ("legs", "before", "after"),
        [
            ({"payment": 10}, ("matched", []), ("matched", [])),
            ({}, ("open", []), ("incomplete", ["missing"])),
            ({"cancellation": 0}, ("matched", []), ("matched", [])),
            ({"payment": 10, "cancellation": 0}, ("open", []), ("incomplete", ["missing"])),
            ({"payment": 10, "cancellation": 0, "refund": 10}, ("matched", []), ("matched", [])),
            ({"payment": 10, "cancellation": 0, "refund": 4}, ("open", []), ("mismatched", ["mismatch"])),
            ({"payment": 10, "refund": 4}, ("matched", []), ("matched", [])),
            ({"payment": 10, "refund": 11}, ("open", []), ("mismatched", ["mismatch"])),
            ({"payment": 9}, ("mismatched", ["mismatch"]), ("mismatched", ["mismatch"])),
        ],
    )
    def test_a_cancellation_and_refunds_change_what_is_expected(self, flows, legs, before, after):
        flow = flows["refunds"]
        deliveries = [
            part(flow, "order", amount="10.00"),
            *(part(flow, leg, amount=amount, refund_id="R-1") for leg, amount in legs.items()),
        ]
        assert outcome(instance_of(flow, *deliveries)) == before
        assert outcome(instance_of(flow, *deliveries, overdue=True)) == after

    def test_a_refund_in_two_parts_is_added(self, flows):
        flow = flows["refunds"]
        refunds = [part(flow, "refund", id_=id_, amount=5, refund_id=id_) for id_ in "12"]
        paid = [part(flow, "order", amount=10), part(flow, "payment", amount=10), part(flow, "cancellation")]
        assert outcome(instance_of(flow, *paid, *refunds)) == ("matched", [])


class TestInstalments:
    @pytest.mark.parametrize(
        ("amounts", "before", "after"),
        [
            ((50, 50), ("matched", []), ("matched", [])),
            (("33.33", "33.33", "33.34"), ("matched", []), ("matched", [])),
            (("33.33", "33.33", "33.33"), ("matched", []), ("matched", [])),
            ((50,), ("open", []), ("mismatched", ["mismatch"])),
            ((25, 25, 25, 24), ("mismatched", ["mismatch"]), ("mismatched", ["mismatch"])),
            ((20, 20, 20, 20, 20), ("mismatched", ["excess"]), ("mismatched", ["excess"])),
            (("99.50", "0.50"), ("open", []), ("mismatched", ["mismatch"])),
            ((110,), ("open", []), ("mismatched", ["mismatch", "mismatch"])),
            ((50, "much"), ("mismatched", ["mismatch"] * 3), ("mismatched", ["mismatch"] * 3)),
        ],
    )
    def test_instalments_add_up(self, flows, amounts, before, after):
        flow = flows["instalments"]
        paid = [
            part(flow, "payment", id_=str(number), payment_id=number, amount=amount)
            for number, amount in enumerate(amounts)
        ]
        deliveries = [part(flow, "order", amount="100.0"), *paid]
        assert outcome(instance_of(flow, *deliveries)) == before
        assert outcome(instance_of(flow, *deliveries, overdue=True)) == after

    def test_an_instalment_after_the_match_reopens_the_order(self, flows):
        flow = flows["instalments"]
        paid = [part(flow, "payment", id_=id_, payment_id=id_, amount=50, after=int(id_)) for id_ in "123"]
        order = part(flow, "order", amount=100)
        assert outcome(instance_of(flow, order, *paid[:2])) == ("matched", [])
        assert outcome(instance_of(flow, order, *paid)) == ("open", [])
        row = instance_of(flow, order, *paid, overdue=True)
        assert (outcome(row), row.settled_at) == (("mismatched", ["mismatch"]), moment(OVERDUE))

    def test_an_amount_that_is_no_number_is_named_with_its_instalment(self, flows):
        flow = flows["instalments"]
        row = instance_of(flow, part(flow, "order", amount=100), part(flow, "payment", payment_id="P-7", amount="much"))
        assert row.issues[0].detail == (
            "order.amount and sum(payment.amount): payment P-7.amount is much (can't be read as a number)"
        )

    @pytest.mark.parametrize(
        ("received", "status", "seconds"),
        [
            ([(50, 1), (50, 10_800)], "matched_late", 10_800),
            ([(50, 1), (50, 20)], "matched", 20),
            ([(50, 10_800), (50, 1)], "matched_late", 10_800),
            ([(100, 1)], "matched", 1),
            ([("99.995", 1), ("0.005", 40)], "mismatched", None),
        ],
    )
    def test_the_instalment_that_completes_the_sum_decides_whether_the_order_is_late(
        self, flows, received, status, seconds
    ):
        """Whichever was recorded first."""
        flow = flows["instalments"]
        paid = [
            part(flow, "payment", id_=str(after), payment_id=after, amount=amount, after=after)
            for amount, after in received
        ]
        row = instance_of(flow, part(flow, "order", amount=100), *paid, overdue=True)
        assert (row.status, row.time_to_match_seconds) == (status, seconds)
        if status == "matched_late":
            assert (row.settled_at, row.legs[1].state) == (moment(seconds), "late")
            assert [issue.kind for issue in row.issues] == ["late"]

    def test_a_correction_that_repairs_a_broken_sum_decides(self, flows):
        """The sum held at first, and then no longer."""
        flow = flows["instalments"]
        flow = replace(flow, rule=flow.rule[:1])
        paid = [
            part(flow, "payment", id_=str(after), payment_id=after, amount=amount, after=after)
            for amount, after in [(100, 1), (-10, 20), (10, 60)]
        ]
        row = instance_of(flow, part(flow, "order", amount=100), *paid)
        assert (row.status, row.time_to_match_seconds) == ("matched_late", 60)

    def test_an_instalment_that_no_rule_needs_makes_no_order_late(self, flows):
        flow = flows["instalments"]
        flow = replace(flow, rule=(Rule(at_least=("sum(payment.amount)", "order.amount")),))
        paid = [part(flow, "payment", id_=str(n), payment_id=n, amount=100, after=n) for n in (1, 60)]
        row = instance_of(flow, part(flow, "order", amount=100), *paid)
        assert (row.status, row.time_to_match_seconds) == ("matched", 1)


class TestCurrencies:
    @pytest.mark.parametrize(
        ("payments", "happened_after", "status"),
        [
            ([("100", "EUR")], 0, "matched"),
            ([("100", "eur")], 0, "matched"),
            ([("100", None)], 0, "matched"),
            ([("108.70", "USD")], 0, "matched"),
            ([("108.70", "usd")], 0, "matched"),
            ([("111.11", "USD")], -86400, "matched"),
            ([("108.70", "USD")], -86400, "mismatched"),
            ([("50", "EUR"), ("54.35", "USD")], 0, "matched"),
            ([("99", "EUR")], 0, "matched"),
            ([("98.99", "EUR")], 0, "mismatched"),
        ],
    )
    def test_amounts_are_converted_at_the_rate_of_their_day(self, flows, payments, happened_after, status):
        flow = flows["currencies"]
        paid = [
            part(
                flow,
                "payment",
                id_=f"{number}",
                payment_id=number,
                amount=amount,
                currency=currency,
                happened_after=happened_after,
            )
            for number, (amount, currency) in enumerate(payments)
        ]
        deliveries = [part(flow, "order", amount="100.00", currency="EUR"), *paid]
        assert instance_of(flow, *deliveries, overdue=True).status == status

    @pytest.mark.parametrize(
        ("order", "payment", "words"),
        [
            ("EUR", "GBP", "there is no rate from GBP to EUR on 2025-11-26: declare it in [[rate]]"),
            ("USD", "EUR", "there is no rate from EUR to USD on 2025-11-26: declare it in [[rate]]"),
            ("EUR", "euro", "payment P-1.currency is euro, not a currency"),
            (None, "EUR", "order.currency is absent, not a currency"),
        ],
    )
    def test_what_can_not_be_converted_is_named(self, flows, order, payment, words):
        flow = flows["currencies"]
        row = instance_of(
            flow,
            part(flow, "order", amount=100, currency=order),
            part(flow, "payment", payment_id="P-1", amount=100, currency=payment),
        )
        assert outcome(row) == ("mismatched", ["mismatch"])
        assert words in row.issues[0].detail


class TestSequences:
    @pytest.mark.parametrize(
        ("numbers", "before", "after", "words"),
        [
            ((1, 2, 3), ("matched", []), ("matched", []), None),
            ((3, 1, 2, 2), ("matched", []), ("matched", []), None),
            ((1, 3), ("open", []), ("mismatched", ["gap"]), "number 2 of"),
            ((2, 3, 9), ("open", []), ("mismatched", ["gap"]), "number 1, 4 to 8 of"),
            ((1, 10**15), ("open", []), ("mismatched", ["gap"]), "number 2 to 999999999999999 of"),
            ((1, "two"), ("mismatched", ["mismatch"]), ("mismatched", ["mismatch"]), "number is two"),
        ],
    )
    def test_a_gap_is_reported_after_the_deadline(self, flows, numbers, before, after, words):
        flow = flows["sequences"]
        read = [
            part(flow, "reading", "site-1", id_=str(place), reading_id=place, number=number)
            for place, number in enumerate(numbers)
        ]
        assert outcome(instance_of(flow, *read, key="site-1")) == before
        row = instance_of(flow, *read, overdue=True, key="site-1")
        assert outcome(row) == after
        assert words is None or words in row.issues[0].detail

    @pytest.mark.parametrize(
        ("numbers", "status", "seconds"),
        [
            ([(1, 0), (2, 1), (3, 60)], "matched", 0),
            ([(1, 0), (3, 1), (2, 60), (4, 70)], "matched_late", 60),
            ([(2, 0), (1, 20), (1, 60)], "matched", 20),
        ],
    )
    def test_the_reading_that_fills_the_last_gap_decides_whether_they_are_late(self, flows, numbers, status, seconds):
        flow = flows["sequences"]
        read = [
            part(flow, "reading", "s", id_=str(after), reading_id=after, number=number, after=after)
            for number, after in numbers
        ]
        row = instance_of(flow, *read, key="s")
        assert (row.status, row.time_to_match_seconds) == (status, seconds)

    def test_more_parts_than_are_stored_are_an_excess(self, flows):
        flow = flows["sequences"]
        read = [part(flow, "reading", "s", id_=str(n), reading_id=n, number=n, after=n / 10) for n in range(1, 102)]
        assert outcome(instance_of(flow, *read[:100], key="s")) == ("matched", [])
        row = instance_of(flow, *read, key="s")
        assert (outcome(row)[0], row.issues[0].kind) == ("mismatched", "excess")
        assert (
            row.issues[0].detail == "reading: more than 100 events arrived, and not all are stored: raise max_evidence"
        )
