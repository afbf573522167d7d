"""The attributes of an event in the CloudEvents that Helios sends."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from helios.adapters.cloudevents import attributes, replayed_attributes
from helios.adapters.extensions import content_type, extensions
from helios.adapters.replay.eventbridge import EventBridgeTarget
from helios.adapters.replay.pubsub import MAX_ATTRIBUTES, message_attributes
from helios.normalise import normalise
from helios.normalise.replay_marks import mark
from tests.support.deliveries import eventbridge


def test_attributes_have_legal_names():
    sent = {"tenant": "t1", "eventType": "T", "replay-name": "r", "dataschema": "https://shop/order.json"}

    assert extensions(sent) == {
        "tenant": "t1",
        "eventtype": "T",
        "replayname": "r",
        "dataschema": "https://shop/order.json",
    }


def test_the_trace_of_googles_clients_is_the_distributed_tracing_extension():
    assert extensions({"googclient_traceparent": "00-1", "googclient_tracestate": "a=1"}) == {
        "traceparent": "00-1",
        "tracestate": "a=1",
    }


def test_no_attribute_replaces_another():
    """A name with a meaning in CloudEvents, or of another attribute, gets an x in front."""
    sent = {"id": "1", "Source": "s", "heliosreplay": "7", "cloud": "x", "a-b": "1", "ab": "2", "--": "3"}

    assert list(extensions(sent)) == ["xid", "xsource", "xheliosreplay", "xcloud", "ab", "xab", "x"]


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=12))
def test_every_attribute_is_forwarded_under_a_legal_name(sent):
    """CloudEvents 1.0, "Naming Conventions" and "Type System"."""
    forwarded = extensions(sent)

    assert len(forwarded) == len(sent) - ("datacontenttype" in sent)
    assert all(re.fullmatch("[a-z0-9]+", name) for name in forwarded)
    assert not any(re.search(r"[\x00-\x1f]", value) for value in forwarded.values())


def test_a_sent_event_has_its_own_attributes_and_those_of_its_sender():
    event = replace(normalise(eventbridge("1")), attributes={"tenant": "t1", "id": "other"})

    assert attributes(event).items() >= {"id": "1", "tenant": "t1", "xid": "other"}.items()
    assert replayed_attributes(event, 7).items() >= {"heliosreplay": "7", "tenant": "t1"}.items()
    assert content_type({}) == "application/json"
    assert content_type({"datacontenttype": "application/vnd.shop+json"}) == "application/vnd.shop+json"


def test_a_message_of_pubsub_has_no_attribute_beyond_its_limits():
    sent = {"long": "x" * 1025, **{f"n{number}": "1" for number in range(120)}}
    attributes = message_attributes(replace(normalise(eventbridge("1")), attributes=sent), 7)

    assert len(attributes) == MAX_ATTRIBUTES
    assert attributes.keys() >= {"ce-id", "ce-type", "ce-heliosreplay", "ce-n0"}
    assert "ce-long" not in attributes


@pytest.mark.parametrize(
    ("attribute", "resources"),
    [({}, []), ({"resources": "arn:a"}, ["arn:a"]), ({"resources": '["arn:a","arn:b"]'}, ["arn:a", "arn:b"])],
)
def test_an_event_returns_to_eventbridge_with_its_resources(attribute, resources, monkeypatch):
    """The mark of the replay is one more."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    event = replace(normalise(eventbridge("1")), attributes=attribute)
    entry = EventBridgeTarget("bus").entry(7, event)

    assert entry["Resources"] == [*resources, mark(7, event)]
