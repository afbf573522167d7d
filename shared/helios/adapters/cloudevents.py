"""Stored events as CloudEvents 1.0 again, for others and for Helios itself."""

from typing import Final
from urllib.parse import quote

from helios.model.events import Event
from helios.normalise.replay_marks import EXTENSION

_URI_CHARACTERS: Final = "/:?#[]@!$&'()*+,;=%-._~"
"""RFC 3986, "Characters": what a URI-reference may hold besides letters and digits."""


def attributes(event: Event) -> dict[str, str]:
    """The event's context attributes.

    ``cloud`` is an extension of ours: id is unique within it, whatever the sender calls its sources.
    """
    given = {
        "specversion": "1.0",
        "id": event.id,
        "source": quote(event.origin, safe=_URI_CHARACTERS) or event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time.isoformat().replace("+00:00", "Z"),
        "cloud": event.source,
    }
    return {name: value for name, value in given.items() if value}


def replayed_attributes(event: Event, job: int) -> dict[str, str]:
    """The same, marked; without a time that the sender never told, or Helios would find that it contradicts itself."""
    given = attributes(event) | {EXTENSION: str(job)}
    if event.time == event.received_at:
        del given["time"]
    return given
