"""Any CloudEvent that an SDK can send, and the event that Helios makes of it in each mode."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from helios.model.events import Event
from helios.normalise import normalise, split
from tests.support.deliveries import NOON

# The SDKs write header values as they are, although the binding asks them to percent-encode. So a percent sign, and
# quotes around a value, would mean something else in binary mode.
TEXT = st.text("aZ09ß€😀:/?#-_.~'(){}[]", min_size=1, max_size=12)
STRINGS = st.text('aß€😀 "\\/\n\t\x7f', max_size=8)

json_values: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
    max_leaves=6,
)

events = st.fixed_dictionaries(
    {
        "id": TEXT,
        "source": st.text("ab0-/", min_size=1, max_size=12).map("/{}".format),
        "type": TEXT,
        "time": st.datetimes().map(lambda time: f"{time.isoformat(timespec='milliseconds')}Z"),
        "cloud": st.just("aws"),
        "datacontenttype": st.just("application/json"),
    },
    optional={"subject": TEXT, "traceparentx": TEXT, "partitionkeyx": TEXT},
)
"""The attributes of CloudEvents, with some extensions."""


def received(headers: Mapping[str, str], body: bytes | None) -> Event:
    """The only event in a request, whose headers a server has decoded as Latin-1."""
    values = {name.lower(): value.encode().decode("latin-1") for name, value in headers.items()}
    (delivery,) = split("cloudevents", body or b"", values, NOON)
    return normalise(delivery)


def in_every_mode(
    structured: tuple[Mapping[str, str], bytes], binary: tuple[Mapping[str, str], bytes | None]
) -> list[Event]:
    """The events of one CloudEvent in structured, batch and binary mode."""
    batch = {"content-type": "application/cloudevents-batch+json; charset=utf-8"}
    return [received(*structured), received(batch, b"[" + structured[1] + b"]"), received(*binary)]
