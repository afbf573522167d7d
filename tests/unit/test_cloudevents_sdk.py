"""CloudEvents of the Python SDK: each becomes one event, in whichever mode it is sent."""

from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent
from hypothesis import given

from tests.support.sdk_events import events, in_every_mode, json_values


@given(attributes=events, data=json_values)
def test_an_event_of_the_python_sdk_is_the_same_in_every_mode(attributes, data):
    """Also its digest and its attributes."""
    event = CloudEvent(attributes, data)
    structured, batch, binary = in_every_mode(to_structured(event), to_binary(event))

    assert structured == batch == binary
    assert (structured.id, structured.producer, structured.type) == (
        attributes["id"],
        attributes["source"],
        attributes["type"],
    )
    assert structured.attributes == {name: value for name, value in attributes.items() if name.endswith("x")}
