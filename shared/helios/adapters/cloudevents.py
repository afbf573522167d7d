"""Converts stored events back to CloudEvents 1.0, for other systems and for Helios itself."""

from typing import Final
from urllib.parse import quote

from helios.model.events import Event
from helios.normalise.replay_marks import EXTENSION

_URI_CHARACTERS: Final = "/:?#[]@!$&'()*+,;=%-._~"
"""The characters, besides letters and digits, that a URI-reference may contain (RFC 3986, "Characters")."""


def attributes(event: Event) -> dict[str, str]:
    """The event's context attributes.

    ``cloud`` is an extension that Helios adds. An id is unique within it, whatever sources the sender names.
    """
    values = {
        "specversion": "1.0",
        "id": event.id,
        "source": quote(event.origin, safe=_URI_CHARACTERS) or event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time.isoformat().replace("+00:00", "Z"),
        "cloud": event.source,
    }
    return {name: value for name, value in values.items() if value}


def replayed_attributes(event: Event, job: int) -> dict[str, str]:
    """The context attributes with the mark of a replay job.

    The time is left out if the sender never set it: otherwise Helios would count the replayed event as contradictory.
    """
    marked = attributes(event) | {EXTENSION: str(job)}
    if event.time == event.received_at:
        del marked["time"]
    return marked
