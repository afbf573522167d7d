"""Every kind of leg and rule gives the records through the log and the job that follow from all evidence at once."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from msgspec.structs import replace

from helios.model.events import Delivery
from helios.reconciliation.declaration import Flow
from tests.fixtures.flink import expected_records
from tests.support.rule_examples import example_files, example_flows, part

ORDERS = 12
LATER = timedelta(hours=1)
ODD = {
    "amount": (1, 9, "x", None),
    "parcels": (1, 4),
    "quantity": (3, "x"),
    "number": (5, "x"),
    "currency": ("USD", None),
}
"""Values of a member that break a rule, or that no rule can read."""


def deliveries_of(flow: Flow, start: datetime, random: Random) -> Iterator[Delivery]:
    """Orders whose rules hold or not: legs that lack, differ, are sent twice, come late or before those they follow."""
    for number in range(ORDERS):
        for leg in flow.leg:
            for own_id in "abc" if leg.name in flow.parts and leg.name != "refund" else "a":
                if random.random() < 0.15:
                    continue
                is_part = leg.name in flow.parts
                data: dict[str, Any] = {
                    "amount": 2 if is_part else 6,
                    "parcels": 0 if is_part else 3,
                    "quantity": 2 if leg.name == "shipment" else 0 if is_part else 6,
                    "number": "abc".index(own_id) + 1,
                    "currency": "EUR",
                    "parcel": {"number": own_id},
                } | dict.fromkeys(("cancellation_id", "refund_id", "payment_id", "reading_id"), own_id)
                if random.random() < 0.15:
                    member = random.choice(list(ODD))
                    data[member] = random.choice(ODD[member])
                after, happened = random.choice((0.0, 1.0, 2.0, 31.0, 120.0)), random.choice((0.0, 0.0, -1.0, -3.0))
                data |= {"start": start, "after": after, "happened_after": happened}
                delivery = part(flow, leg.name, f"ORD-{number}", id_=own_id, **data)
                yield delivery
                if random.random() < 0.1:
                    yield replace(delivery, received_at=delivery.received_at + timedelta(seconds=1))


def kinds(flows: Sequence[Flow]) -> set[str]:
    """The attributes of legs and rules that the flows use."""
    structs = [each for flow in flows for each in (*flow.leg, *flow.rule)]
    return {name for struct in structs for name in struct.__struct_fields__ if getattr(struct, name)}


def test_every_example_of_a_rule_is_judged_as_by_postgres(stage, tmp_path):
    """Two tasks; the deliveries are in the log in an order of their own."""
    flows = list(example_flows(tmp_path).values())
    assert kinds(flows) >= {"many", "at_least", "when", "before", "sequence", "within", "in_currency"}
    file = tmp_path / "flows.toml"
    file.write_text("\n".join(example_files().values()))
    random = Random(0)
    start = datetime.now(UTC) - timedelta(hours=2)
    deliveries = [delivery for flow in flows for delivery in deliveries_of(flow, start, random)]
    random.shuffle(deliveries)
    expected = expected_records(flows, deliveries, start + LATER)
    assert {record.status for record in expected.values()} >= {"matched", "mismatched", "incomplete"}

    stage.start(flows=file, parallelism=2)
    stage.append(deliveries)
    stage.heartbeat(start + LATER)
    stage.results.wait(
        lambda results: {key: replace(record, version=0) for key, record in results.records().items()} == expected
    )
