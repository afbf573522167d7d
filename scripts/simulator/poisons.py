"""Ways to malform an event, by name. Helios must reject each poison message with a reason and process the others."""

import re
from collections.abc import Callable
from typing import Literal

from helios.model.sources import Source

Via = Literal["webhook", "cloud"]
"""How events are sent: posted to Helios' own webhooks, or published through the clouds' SDKs."""

Malform = Callable[[bytes], bytes]

_TIMES = re.compile(rb'"(time|eventTime)":"[^"]*"')
_DATA = re.compile(rb'("data":")')

PAYLOAD_POISONS: dict[str, Malform] = {
    "truncated JSON": lambda data: data[: len(data) * 2 // 3],
    "NaN": lambda data: data[:-1] + b',"weight":NaN}',
    "NUL character": lambda data: data[:-1] + b',"note":"\\u0000"}',
}
"""Changes to the payload, before it is wrapped in an envelope."""

ENVELOPE_POISONS: dict[str, Malform] = {
    "missing id": lambda body: body.replace(b'"id":', b'"identity":', 1),
    "unreadable time": lambda body: _TIMES.sub(rb'"\1":"yesterday"', body, count=1),
    "wrong base64": lambda body: _DATA.sub(rb"\1!", body, count=1),
}
"""Changes to a webhook's body."""

POISONS: dict[Via, dict[Source, tuple[str, ...]]] = {
    "webhook": {
        "aws": (*PAYLOAD_POISONS, "missing id", "unreadable time"),
        "gcp": (*PAYLOAD_POISONS, "wrong base64"),
        "azure": (*PAYLOAD_POISONS, "missing id", "unreadable time"),
        "stripe": tuple(PAYLOAD_POISONS),
        "shopify": tuple(PAYLOAD_POISONS),
    },
    # PutEvents and Event Grid accept JSON only, so their poison is valid JSON that Postgres can't store.
    "cloud": {
        "aws": ("NUL character",),
        "gcp": ("NUL character", "truncated JSON"),
        "azure": ("NUL character",),
        # They post to Helios itself, which reads whatever comes.
        "stripe": tuple(PAYLOAD_POISONS),
        "shopify": tuple(PAYLOAD_POISONS),
    },
}
"""The poisons that reach Helios through each channel; the clouds themselves refuse the others."""
