"""Ways to malform an event, by name: each must be refused by Helios with a reason, and none may block the others."""

import re
from collections.abc import Callable
from typing import Literal

from helios.model.events import Source

Via = Literal["webhook", "cloud"]
"""How events leave: posted to Helios' own webhooks, or published through the clouds' SDKs."""

Spoil = Callable[[bytes], bytes]

_TIMES = re.compile(rb'"(time|eventTime)":"[^"]*"')
_DATA = re.compile(rb'("data":")')

PAYLOAD_POISONS: dict[str, Spoil] = {
    "truncated JSON": lambda data: data[: len(data) * 2 // 3],
    "NaN": lambda data: data[:-1] + b',"weight":NaN}',
    "NUL character": lambda data: data[:-1] + b',"note":"\\u0000"}',
}
"""What is done to the payload, before it goes into an envelope."""

ENVELOPE_POISONS: dict[str, Spoil] = {
    "missing id": lambda body: body.replace(b'"id":', b'"identity":', 1),
    "unreadable time": lambda body: _TIMES.sub(rb'"\1":"yesterday"', body, count=1),
    "wrong base64": lambda body: _DATA.sub(rb"\1!", body, count=1),
}
"""What is done to a webhook's body."""

POISONS: dict[Via, dict[Source, tuple[str, ...]]] = {
    "webhook": {
        "aws": (*PAYLOAD_POISONS, "missing id", "unreadable time"),
        "gcp": (*PAYLOAD_POISONS, "wrong base64"),
        "azure": (*PAYLOAD_POISONS, "missing id", "unreadable time"),
    },
    # PutEvents takes only JSON, and so does Event Grid: what is left is JSON that cannot be stored.
    "cloud": {
        "aws": ("NUL character",),
        "gcp": ("NUL character", "truncated JSON"),
        "azure": ("NUL character",),
    },
}
"""Which of them reach Helios by each way: the clouds refuse the others themselves."""
