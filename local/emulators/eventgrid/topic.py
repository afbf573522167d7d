"""A custom topic: its name, its keys, and the schema it takes events in."""

import base64
import secrets
from typing import Literal

import msgspec

Schema = Literal["EventGridSchema", "CloudEventSchemaV1_0"]
"""Azure's names. Its third, ``CustomInputSchema``, is not imitated."""

_KEY_BYTES = 32


def new_key() -> str:
    """A key in the form of Azure's: Base64."""
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


class Topic(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a topic is configured as.

    Attributes:
        name: its name, which the URL of its endpoint holds.
        input_schema: the schema in which events are published.
        key1: a key that publishers may use; Base64.
        key2: another one, so that keys can be rotated.
    """

    name: str
    input_schema: Schema = "EventGridSchema"
    key1: str
    key2: str

    @property
    def id(self) -> str:
        """Its Azure Resource Manager id, which events carry as ``topic``."""
        return (
            "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local"
            f"/providers/Microsoft.EventGrid/topics/{self.name}"
        )

    @property
    def path(self) -> str:
        """Where events are published to, below the emulator's URL."""
        return f"/topics/{self.name}/api/events"
