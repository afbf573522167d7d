"""The issues of rules reveal no field that is masked and no leg that is hidden for a token."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from helios.model.access import MASKED, Visibility
from helios.model.flows import FlowInstance, FlowIssue
from helios.normalise import normalise
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evaluate import AFTER, FlowEvaluator
from helios.reconciliation.evidence import EvidenceExtractor, EvidenceSet
from helios.reconciliation.masking import FlowMask, event_limits, visible_flows
from tests.support.rule_examples import example_flows, part

with TemporaryDirectory() as _folder:
    FLOWS = example_flows(Path(_folder))


def masked_instance(flow: Flow, deliveries, visibility: Visibility) -> FlowInstance:
    """The instance as a caller with this visibility sees it."""
    evaluator = FlowEvaluator(flow)
    extractor = EvidenceExtractor([flow])
    keyed = [keyed for delivery in deliveries for keyed in extractor.extract(normalise(delivery))]
    evidence_set = evaluator.merge([EvidenceSet(items=[each.evidence]) for each in keyed])
    instance = evaluator.to_instance("ORD-1", evidence_set, now=AFTER)
    visible = visible_flows([flow], visibility)
    mask = FlowMask(flow, event_limits(visible, visibility), visibility)
    return mask.instance(instance)


def masked_issues(flow: Flow, deliveries, visibility: Visibility) -> list[FlowIssue]:
    """The issues of the instance as a caller with this visibility sees them."""
    return masked_instance(flow, deliveries, visibility).issues


def parcels(*, quantity: int = 1, happened_after: float = 0.0):
    flow = FLOWS["parcels"]
    return [
        part(flow, "order", parcels=2, quantity=4),
        *(
            part(flow, "shipment", id_=id_, parcel={"number": id_}, quantity=quantity, happened_after=happened_after)
            for id_ in "12"
        ),
    ]


def payment(amount: int | str = 50):
    flow = FLOWS["currencies"]
    return [
        part(flow, "order", amount=100, currency="EUR"),
        part(flow, "payment", payment_id="P-1", amount=amount, currency="USD"),
    ]


@pytest.mark.parametrize(
    ("title", "deliveries", "field", "kind"),
    [
        ("parcels", parcels, "quantity", "mismatch"),
        ("parcels", lambda: parcels(quantity=2)[:2], "parcels", "missing"),
        ("currencies", payment, "amount", "mismatch"),
        ("currencies", payment, "currency", "mismatch"),
        ("currencies", lambda: payment("much"), "payment_id", "mismatch"),
    ],
)
def test_an_issue_that_quotes_a_masked_field_has_no_values(title, deliveries: Callable, field, kind):
    flow = FLOWS[title]
    (shown,) = masked_issues(flow, deliveries(), Visibility())
    assert (shown.kind, shown.detail != MASKED) == (kind, True)

    (hidden,) = masked_issues(flow, deliveries(), Visibility(masked=(field,)))
    assert (hidden.kind, hidden.values, hidden.detail) == (kind, {}, MASKED)


def test_an_issue_that_quotes_no_masked_field_is_shown():
    flow = FLOWS["parcels"]
    (late,) = masked_issues(flow, parcels(quantity=2, happened_after=-9), Visibility(masked=("carrier",)))
    assert (late.kind, late.detail) == ("out_of_order", "shipment: happened 9.000 s before order")
    (missing,) = masked_issues(flow, parcels(quantity=2)[:2], Visibility(masked=("quantity",)))
    assert missing.detail == "shipment: 1 of 2 ParcelShipped from Azure"


@pytest.mark.parametrize(
    ("visibility", "expected"),
    [
        (Visibility(), {"order": 1, "cancellation": 0, "shipment": 2}),
        (Visibility(masked=("carrier",)), {"order": 1, "cancellation": 0, "shipment": 2}),
        (Visibility(masked=("parcels",)), {"order": 1, "cancellation": 0, "shipment": 0}),
        (Visibility(flows=("parcels",), types=("ParcelShipped",)), {"order": 0, "cancellation": 0, "shipment": 0}),
        (Visibility(flows=("parcels",), sources=("aws",)), {"order": 1, "cancellation": 0, "shipment": 0}),
    ],
    ids=["all", "another field masked", "masked", "order hidden", "shipment hidden"],
)
def test_the_expected_parts_of_a_leg_do_not_reveal_a_hidden_leg_or_field(visibility, expected):
    instance = masked_instance(FLOWS["parcels"], parcels(quantity=2), visibility)
    assert {leg.name: leg.expected for leg in instance.legs} == expected


def test_a_flow_whose_key_is_masked_in_any_leg_is_hidden():
    """The warehouse calls the key ``reference``."""
    assert visible_flows([FLOWS["parcels"]], Visibility(masked=("reference",))) == {}
    assert list(visible_flows([FLOWS["parcels"]], Visibility(masked=("carrier",)))) == ["parcels"]
