"""A custom topic: its name, its keys, and the schema of its events."""

import base64
import secrets
from typing import Literal

import msgspec

Schema = Literal["EventGridSchema", "CloudEventSchemaV1_0"]
"""Azure's names. Its third, ``CustomInputSchema``, is not imitated."""

_KEY_BYTES = 32


def new_key() -> str:
    """A new key in Azure's form: Base64."""
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


class Topic(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The configuration of a topic.

    Attributes:
        name: its name, which is part of its endpoint's URL.
        input_schema: the schema of published events.
        key1: a key for publishers; Base64.
        key2: a second key, so that keys can be rotated.
    """

    name: str
    input_schema: Schema = "EventGridSchema"
    key1: str
    key2: str

    @property
    def id(self) -> str:
        """Its Azure Resource Manager id, which is the ``topic`` of its events."""
        return (
            "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local"
            f"/providers/Microsoft.EventGrid/topics/{self.name}"
        )

    @property
    def path(self) -> str:
        """The path to publish events to, below the emulator's URL."""
        return f"/topics/{self.name}/api/events"
