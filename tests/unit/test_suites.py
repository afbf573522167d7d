"""Which cases of the suite of Google's client for Node.js are findings."""

import pytest

from scripts.suites.node import unexpected


def case(title):
    return {"fullTitle": title, "err": {"message": "why"}}


SEEK, IAM, HOOK = case("pubsub Snapshot should seek"), case("pubsub IAM should get"), case('pubsub "before all" hook')


@pytest.mark.parametrize(
    ("passes", "failures", "found"),
    [
        ([SEEK], [IAM], []),
        ([], [SEEK], ["no case passed", "failed: pubsub Snapshot should seek: why"]),
        ([SEEK], [IAM, HOOK], ['failed: pubsub "before all" hook: why']),
        ([SEEK, IAM], [], ["passed, though IAM is not imitated: pubsub IAM should get"]),
    ],
)
def test_a_case_is_a_finding_unless_it_passes_or_is_not_imitated(passes, failures, found):
    assert list(unexpected({"passes": passes, "failures": failures})) == found
