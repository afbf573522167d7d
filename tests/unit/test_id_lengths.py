"""The longest ids: what is longer fits no index of the database, and never gets there."""

import json

import pytest

from helios.errors import Rejected
from helios.model.events import MAX_ID_CHARS, Delivery
from helios.normalise import normalise
from tests.support.deliveries import NOON, eventbridge

TOO_LONG = "1" * (MAX_ID_CHARS + 1)


def with_order(order_id: str) -> Delivery:
    """A delivery whose payload names an order; the id is JSON text."""
    delivery = eventbridge("1", detail="ORDER")
    body = delivery.body.replace(b'"ORDER"', f'{{"order_id":{order_id},"customer_id":{order_id}}}'.encode())
    return Delivery(channel=delivery.channel, body=body, received_at=NOON)


@pytest.mark.parametrize("order_id", [TOO_LONG, f"-{TOO_LONG[1:]}", json.dumps(TOO_LONG), TOO_LONG * 8])
def test_an_id_that_is_too_long_is_not_shown_whether_text_or_number(order_id):
    """The payload is accepted, and only the columns remain empty."""
    event = normalise(with_order(order_id))

    assert (event.order_id, event.customer_id) == (None, None)


@pytest.mark.parametrize("order_id", [TOO_LONG[1:], json.dumps(TOO_LONG[1:])])
def test_the_longest_id_is_shown_whether_text_or_number(order_id):
    event = normalise(with_order(order_id))

    assert (event.order_id, event.customer_id) == (TOO_LONG[1:], TOO_LONG[1:])


@pytest.mark.parametrize("form", ["wrapped", "unwrapped"])
def test_a_pubsub_message_id_that_is_too_long_is_rejected(form):
    """The message id is the event's id, and has the same limit as the ids of the other channels."""
    time = "2025-11-26T12:00:00Z"
    headers = {"x-goog-pubsub-message-id": TOO_LONG, "x-goog-pubsub-publish-time": time}
    body = json.dumps({"message": {"messageId": TOO_LONG, "publishTime": time, "data": "e30="}}).encode()
    delivery = (
        Delivery(channel="pubsub", body=body, received_at=NOON)
        if form == "wrapped"
        else Delivery(channel="pubsub", body=b"{}", headers=headers, received_at=NOON)
    )
    with pytest.raises(Rejected, match=f"longer than {MAX_ID_CHARS} characters") as caught:
        normalise(delivery)

    assert caught.value.field == ("message.messageId" if form == "wrapped" else "header x-goog-pubsub-message-id")
