"""Long texts in fields: how much of them is evidence, and what they are equal to."""

from typing import Any

import pytest
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.messages import encode_verdict, topics
from helios.model.events import MAX_ID_CHARS, MAX_NAME_CHARS, Delivery
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evidence import MAX_FIELD_CHARS, MAX_SCALAR_CHARS
from helios.reconciliation.fold import Fold
from helios.reconciliation.record import FlowRecord, to_instance
from helios.reconciliation.rule import Rule
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from tests.fakes.store import MemoryStore
from tests.support.instances import ORDER, leg
from tests.support.job import Job

LONG = "a" * 1_000_000
SAME = replace(ORDER, rule=(Rule(equal=("order.customer_id", "payment.customer_id")),))
SUM = replace(ORDER, rule=(Rule(equal=("order.amount + 1", "payment.amount")),))


def record_of(*deliveries: Delivery, flow: Flow = SAME) -> FlowRecord:
    """The record of the only order: both engines have made the same."""
    job = Job(Fold([flow]), topics("test"), lambda *_: None)
    job.take(deliveries)
    store = MemoryStore()
    for delivery in deliveries:
        ingest([delivery], dedupe=NullDedupeCache(), store=store, reconciler=Reconciler([flow]))
    (record,) = job.records.values()
    assert store.flow(record.identity) == record
    return record


@pytest.mark.parametrize("length", [MAX_SCALAR_CHARS + 1, MAX_FIELD_CHARS])
def test_a_text_that_a_rule_reads_is_stored_whole_up_to_the_limit(length):
    (item,) = record_of(leg("order", customer_id="a" * length)).evidence_set.items
    assert item.fields["customer_id"] == "a" * length


def test_of_a_longer_text_its_beginning_and_a_digest_are_stored():
    (item,) = record_of(leg("order", customer_id=LONG, note=LONG)).evidence_set.items
    assert item.fields["customer_id"].startswith("a" * MAX_FIELD_CHARS + "... (")
    assert len(item.fields["customer_id"]) < MAX_FIELD_CHARS + 50
    assert item.fields["note"] == "a" * MAX_SCALAR_CHARS


@pytest.mark.parametrize(
    ("left", "right", "issues"),
    [
        (LONG, LONG, []),
        (LONG + "x", LONG + "y", ["mismatch"]),
        ("a" * MAX_FIELD_CHARS, "a" * (MAX_FIELD_CHARS + 1), ["mismatch"]),
    ],
)
def test_long_texts_are_compared_as_a_whole(left, right, issues):
    assert record_of(leg("order", customer_id=left), leg("payment", customer_id=right)).issues == issues


def test_a_text_that_imitates_one_that_was_cut_off_differs_from_it():
    (item,) = record_of(leg("order", customer_id=LONG)).evidence_set.items
    imitation = leg("payment", customer_id=item.fields["customer_id"])
    assert record_of(leg("order", customer_id=LONG), imitation).issues == ["mismatch"]


@pytest.mark.parametrize("digits", ["1" * 4_200, "0" * 1_000_000 + "1"])
def test_a_number_that_was_cut_off_is_no_number(digits):
    """Its beginning is not its value."""
    record = record_of(leg("order", amount=digits), leg("payment", amount="2"), flow=SUM)
    (issue,) = to_instance(Fold([SUM]).evaluators["order"], record).issues
    assert issue.kind == "mismatch"
    assert "can't be read as a number" in issue.detail
    assert record.amount == 2


def test_a_field_with_a_name_that_no_rule_can_read_is_no_evidence():
    names: dict[str, Any] = {"n" * MAX_NAME_CHARS: "1", "n" * (MAX_NAME_CHARS + 1): "2"}
    (item,) = record_of(leg("order", **names)).evidence_set.items
    assert [item.fields[name] for name in item.fields if name.startswith("n")] == ["1"]


def test_a_long_key_belongs_to_no_instance():
    job = Job(Fold([ORDER]), topics("test"), lambda *_: None)
    job.take([leg("order", "k" * (MAX_ID_CHARS + 1), id_=""), leg("order", LONG)])
    assert job.records == {}


def test_the_record_of_an_order_with_long_texts_is_small():
    """Four events with 9 MB each would make a record that no message of Kafka takes."""
    deliveries = [leg("order", id_=str(number), amount="9" * 9_000_000 + str(number)) for number in range(4)]
    record = record_of(*deliveries, flow=ORDER)
    assert len(record.evidence_set.items) == 4
    assert len(encode_verdict(record)) < 100_000
