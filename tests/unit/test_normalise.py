"""Every wire format and its errors: golden pairs, and properties that hold for any input."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.errors import Rejected
from helios.model.events import Channel, Delivery, Event
from helios.normalise import normalise, split
from helios.normalise.eventgrid import validation_code

PAYLOADS = Path(__file__).parents[1] / "payloads"
RECEIVED_AT = datetime(2025, 11, 26, 12, 0, 5, tzinfo=UTC)

CHANNELS: tuple[Channel, ...] = get_args(Channel)


def delivery(body: bytes, channel: Channel = "eventbridge", headers: dict[str, str] | None = None) -> Delivery:
    return Delivery(channel=channel, body=body, headers=headers or {}, received_at=RECEIVED_AT)


def pairs(expected: str) -> list[Any]:
    files = sorted(PAYLOADS.glob(f"*/*.{expected}.json"))
    names = [f"{path.parent.name}/{path.name.split('.')[0]}" for path in files]
    return [pytest.param(PAYLOADS / name, id=name) for name in names]


def read(stem: Path) -> Delivery:
    headers = stem.with_suffix(".headers.json")
    channel = msgspec.convert(stem.parent.name, Channel)
    header_values = json.loads(headers.read_text()) if headers.exists() else {}
    return delivery(stem.with_suffix(".in.json").read_bytes(), channel, header_values)


@pytest.mark.parametrize("stem", pairs("event"))
def test_a_payload_becomes_its_event(stem):
    """A golden pair: the payload in the .in file becomes the event in the .event file."""
    exact = msgspec.json.Decoder(float_hook=str)
    expected = {"attributes": {}} | exact.decode(stem.with_suffix(".event.json").read_bytes())

    assert exact.decode(msgspec.json.encode(normalise(read(stem)))) == expected


@pytest.mark.parametrize("stem", pairs("rejected"))
def test_a_bad_payload_is_rejected_with_its_field(stem):
    """A golden pair: the payload in the .in file is rejected with the fault in the .rejected file."""
    with pytest.raises(Rejected) as caught:
        normalise(read(stem))

    fault = {"field": caught.value.field, "reason": caught.value.reason, "status": caught.value.status}
    assert fault == json.loads(stem.with_suffix(".rejected.json").read_text())


def test_every_golden_input_has_an_expectation():
    """A golden input without an expectation proves nothing."""
    inputs = {str(path)[: -len(".in.json")] for path in PAYLOADS.glob("*/*.in.json")}
    expectations = {str(path).rsplit(".", 2)[0] for path in PAYLOADS.glob("*/*") if ".in." not in path.name}

    assert inputs - expectations == set()


@pytest.mark.parametrize("channel", CHANNELS)
@given(body=st.binary(max_size=200))
def test_any_bytes_become_an_event_or_a_rejection(channel, body):
    """No input raises another error."""
    for part in split(channel, body, {}, RECEIVED_AT):
        try:
            assert isinstance(normalise(part), Event)
        except Rejected as fault:
            assert fault.field
            assert fault.reason


@pytest.mark.parametrize(
    ("channel", "body"),
    [
        ("eventbridge", b'{"Type": "Notification", "TopicArn": "\xff", "MessageId": "1", "Message": "{}"}'),
        ("eventgrid", b'[{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent\xff"}]'),
    ],
)
def test_text_that_is_not_utf_8_is_rejected(channel, body):
    """This includes the checks of a body before it is parsed as an event."""
    assert validation_code({}, body) is None
    with pytest.raises(Rejected) as fault:
        normalise(delivery(body, channel))
    assert "UTF-8" in fault.value.reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        name: json_values | st.sampled_from(["1.0", "2025-11-26T12:00:00Z", "Notification", "arn:aws:x", "e30="])
        for name in (
            *("id", "detail-type", "source", "time", "detail", "message", "data", "data_base64", "specversion"),
            *("type", "eventType", "eventTime", "subject", "topic", "Type", "Message", "TopicArn", "cloud"),
        )
    },
)


@pytest.mark.parametrize("channel", CHANNELS)
@given(envelope=envelopes)
def test_any_json_becomes_an_event_or_a_rejection(channel, envelope):
    """The same property for bodies that resemble real envelopes."""
    try:
        assert isinstance(normalise(delivery(json.dumps(envelope).encode(), channel)), Event)
    except Rejected as fault:
        assert fault.field


@given(payload=json_values)
def test_the_payload_is_stored_byte_for_byte(payload):
    """Helios stores the sender's key order and number format unchanged."""
    detail = json.dumps(payload).encode()
    body = b'{"id":"1","detail-type":"T","source":"s","time":"2025-11-26T12:00:00Z","detail":' + detail + b"}"
    try:
        assert bytes(normalise(delivery(body)).data) == detail
    except Rejected as fault:
        assert "\\u0000" in fault.reason or "surrogate" in fault.reason or "JSON" in fault.reason


def test_an_array_of_event_grid_events_is_split():
    """Each element becomes a delivery of its own, in order."""
    assert [part.body for part in split("eventgrid", b' [{"id":"1"}, {"id":"2"}]', {}, RECEIVED_AT)] == [
        b'{"id":"1"}',
        b'{"id":"2"}',
    ]


@pytest.mark.parametrize("body", [b"[", b"[1,", b'["]', b"[" * 100_000])
def test_an_array_that_cannot_be_split_is_one_delivery(body):
    """Normalising then states the fault of the whole body."""
    assert [part.body for part in split("eventgrid", body, {}, RECEIVED_AT)] == [body]


def test_equal_content_has_an_equal_digest():
    """The digest does not depend on when Helios received the event."""
    body = b'{"id":"1","detail-type":"T","source":"s","time":"2025-11-26T12:00:00Z","detail":{"a":1}}'
    later = Delivery(channel="eventbridge", body=body, received_at=RECEIVED_AT.replace(year=2026))

    assert normalise(delivery(body)).digest == normalise(later).digest


@pytest.mark.parametrize(
    ("before", "after"),
    [(b'"T"', b'"U"'), (b"12:00:00", b"12:00:01"), (b'{"a":1}', b'{"a":2}')],
    ids=["type", "time", "data"],
)
def test_different_content_has_a_different_digest(before, after):
    """Each attribute of the content changes the digest."""
    body = b'{"id":"1","detail-type":"T","source":"s","time":"2025-11-26T12:00:00Z","detail":{"a":1}}'

    assert normalise(delivery(body)).digest != normalise(delivery(body.replace(before, after))).digest
