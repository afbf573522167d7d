"""Reasons quote what a sender wrote, however long that is: they are answered, stored, grouped by and listed."""

import json

import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.errors import MAX_QUOTE_CHARS, Rejected, quote
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import Delivery
from helios.normalise import normalise
from helios.services.ingest import ingest
from tests.fakes.store import MemoryStore
from tests.support.deliveries import NOON, eventbridge
from tests.support.services import client_of, in_memory

LONG = "x" * 50_000
LONGEST_REASON = 2 * MAX_QUOTE_CHARS + 1


@pytest.mark.parametrize("header", ["content-type", "content-encoding"])
def test_a_long_header_is_cut_in_the_answer_and_in_the_dead_letter(header):
    store = MemoryStore()
    with client_of(in_memory(store)) as client:
        response = client.post("/api/v1/webhooks/aws/eventbridge", content=b"{}", headers={header: f"x/{LONG}"})

    (stored,) = store.dead_letters(DeadLetterFilter(), after=None, limit=10).items
    assert response.status_code == 415
    assert len(response.content) < 1000
    assert quote(f"x/{LONG}") in stored.dead_letter.reason
    assert len(stored.dead_letter.reason) <= LONGEST_REASON


CLOUDEVENT = {"specversion": "1.0", "id": "1", "type": "T", "source": "s"}


@pytest.mark.parametrize(
    ("change", "end"),
    [
        ({"datacontenttype": f"x/{LONG}"}, "send application/json"),
        ({"cloud": LONG}, ""),
        ({"source": LONG[:2000]}, "with one of aws, gcp, azure"),
    ],
)
def test_a_long_attribute_is_cut_in_the_reason(change, end):
    """The advice at the end of the reason is still there."""
    body = json.dumps(CLOUDEVENT | change).encode()
    with pytest.raises(Rejected) as caught:
        normalise(Delivery(channel="cloudevents", body=body, received_at=NOON))

    assert len(caught.value.reason) <= LONGEST_REASON
    assert caught.value.reason.endswith(end)
    assert str(caught.value) == caught.value.reason


def test_the_names_of_differing_fields_are_cut():
    """They are keys of the payload: there may be thousands, and each may be long."""
    details = [{f"{number:05}{LONG[:1000]}": value for number in range(500)} for value in (1, 2)]
    batch = [eventbridge("1", detail=detail) for detail in details]
    _, contradictory = ingest(batch, dedupe=NullDedupeCache(), store=MemoryStore())

    assert contradictory.status == "contradictory"
    assert contradictory.reason
    assert contradictory.field
    assert len(contradictory.reason) < 3000
    assert contradictory.reason.endswith(" and 490 more")
    assert len(contradictory.field) == MAX_QUOTE_CHARS + 1


def test_a_short_reason_is_not_cut():
    assert Rejected("is missing", field="detail.amount").reason == "is missing"
    assert Rejected("a" * (LONGEST_REASON - 1), field="body").reason == "a" * (LONGEST_REASON - 1)
    assert quote("text/html") == "'text/html'"
