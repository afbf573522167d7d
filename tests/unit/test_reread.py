"""What two records of an instance make together: each may have seen deliveries that the other has not."""

from collections.abc import Sequence

from hypothesis import given, settings

from helios.messages import topics
from helios.model.events import Delivery
from helios.reconciliation.evidence import EvidenceSet, lacks
from helios.reconciliation.fold import Fold
from helios.reconciliation.leg import MAX_VARIANTS
from helios.reconciliation.reread import complete
from tests.support.depth import examples
from tests.support.instances import ORDER, leg
from tests.support.job import Job
from tests.support.repeated import repeated_deliveries

FOLD = Fold([ORDER])
EVALUATOR = FOLD.evaluators["order"]


def evidence(deliveries: Sequence[Delivery]) -> EvidenceSet:
    """The evidence of the only order."""
    job = Job(FOLD, topics("test"), lambda *_: None)
    job.take(deliveries)
    (record,) = job.records.values()
    return record.evidence_set


def test_the_first_arrival_and_the_larger_number_of_deliveries_count():
    early, late = leg("order"), leg("order", after=60)
    both = evidence([early, late, late])
    for one, other in (([early], [late] * 3), ([late] * 3, [early])):
        assert complete(EVALUATOR, evidence(one), evidence(other)) == both


def test_the_fields_are_those_that_were_read_again():
    known, again = evidence([leg("order")]), evidence([leg("order", after=60)])
    again.items[0].fields["more"] = "1"
    (item,) = complete(EVALUATOR, known, again).items
    assert (item.received_at, item.fields) == (known.items[0].received_at, again.items[0].fields)


def test_the_larger_overflow_of_each_leg_counts():
    few, many = (
        evidence([leg(name, id_=str(number)) for name, more in numbers for number in range(MAX_VARIANTS + more)])
        for numbers in ((("order", 1), ("payment", 3)), (("order", 2), ("payment", 2)))
    )
    assert complete(EVALUATOR, few, many).overflow == {"order": 2, "payment": 3}


def test_evidence_from_before_all_that_has_overflowed_is_listed():
    """A job that has started without its state has seen later deliveries only, and more of them than it lists."""
    early = evidence([leg("order", id_=f"early {number}") for number in range(MAX_VARIANTS)])
    late = evidence([leg("order", id_=f"late {number}", after=60) for number in range(MAX_VARIANTS + 2)])
    assert lacks(late, early)
    after = complete(EVALUATOR, late, early)
    assert after == EvidenceSet(items=early.items, overflow={"order": MAX_VARIANTS + 2})
    assert complete(EVALUATOR, after, early) == complete(EVALUATOR, after, late) == after


def test_a_later_arrival_lacks_the_earlier_one():
    early, late = evidence([leg("order")]), evidence([leg("order", after=60)])
    assert lacks(late, early)
    assert not lacks(early, late)


@settings(derandomize=True, database=None, max_examples=examples(200, long=2000))
@given(first=repeated_deliveries, second=repeated_deliveries)
def test_after_one_exchange_neither_lacks_what_the_other_has(first, second):
    """So a projector and a job that give each other evidence end after one round, in whatever order that is done."""
    one, other = evidence(first), evidence(second)
    together = complete(EVALUATOR, one, other)
    assert not lacks(together, one)
    assert not lacks(together, other)
    assert complete(EVALUATOR, together, one) == complete(EVALUATOR, together, other) == together
    if not together.overflow:
        assert complete(EVALUATOR, other, one) == together
