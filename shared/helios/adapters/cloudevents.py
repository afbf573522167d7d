"""Converts stored events back to CloudEvents 1.0, for other systems and for Helios itself."""

from typing import Final
from urllib.parse import quote

from helios.adapters.extensions import extensions
from helios.model.events import Event
from helios.normalise.cloudevents import PRODUCER_EXTENSION
from helios.normalise.replay_marks import EXTENSION

_URI_CHARACTERS: Final = "/:?#[]@!$&'()*+,;=%-._~"
"""The characters, besides letters and digits, that a URI-reference may contain (RFC 3986, "Characters")."""


def attributes(event: Event) -> dict[str, str]:
    """The event's context attributes, and what its sender said beside the payload as extension attributes.

    Helios adds two extensions: ``cloud``, the source by its name in Helios, and PRODUCER_EXTENSION if ``source``, which
    must be a non-empty URI-reference, can't be the producer as it is.
    """
    source = quote(event.producer, safe=_URI_CHARACTERS) or event.source
    values = {
        "specversion": "1.0",
        "id": event.id,
        "source": source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time.isoformat().replace("+00:00", "Z"),
        "cloud": event.source,
    }
    producer = {} if source == event.producer else {PRODUCER_EXTENSION: event.producer}
    own = {name: value for name, value in values.items() if value} | producer
    return own | extensions(event.attributes)


def replayed_attributes(event: Event, job: int) -> dict[str, str]:
    """The context attributes with the mark of a replay job.

    The time is left out if the sender never set it: otherwise Helios would count the replayed event as contradictory.
    """
    marked = attributes(event) | {EXTENSION: str(job)}
    if event.time == event.received_at:
        del marked["time"]
    return marked
