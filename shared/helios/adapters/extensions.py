"""The attributes of an event as extension attributes of CloudEvents, which intermediaries are asked to forward."""

import re
from collections.abc import Collection, Mapping
from typing import Final

_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
"""Characters that a value of CloudEvents must not contain (CloudEvents 1.0, "Type System")."""

CONTENT_TYPE: Final = "datacontenttype"

_TAKEN: Final = frozenset(
    {
        *("id", "source", "type", "specversion", "subject", "time", "data", CONTENT_TYPE),
        *("cloud", "heliosreplay", "heliosproducer"),
    }
)
"""Names with a meaning in CloudEvents, or of Helios' own."""

_KNOWN: Final = {"googclient_traceparent": "traceparent", "googclient_tracestate": "tracestate"}
"""Attributes under which Google's clients send the attributes of CloudEvents' extension for distributed tracing."""


def extensions(attributes: Mapping[str, str], *, taken: Collection[str] = _TAKEN) -> dict[str, str]:
    """The attributes under legal names: a to z and digits (CloudEvents 1.0, "Naming Conventions").

    A name that is taken gets an ``x`` in front.
    """
    named: dict[str, str] = {}
    for name, value in attributes.items():
        if name == CONTENT_TYPE:
            continue
        legal = _NOT_IN_NAMES.sub("", _KNOWN.get(name, name).lower())
        while legal in taken or legal in named or not legal:
            legal = f"x{legal}"
        named[legal] = _CONTROL.sub(" ", value)
    return named


def content_type(attributes: Mapping[str, str]) -> str:
    """The content type of the data, which is JSON of some kind."""
    return attributes.get(CONTENT_TYPE, "application/json")
