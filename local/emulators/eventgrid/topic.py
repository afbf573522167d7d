"""A custom topic: its name, its keys, and the schema of its events."""

import base64
import secrets
from typing import Any, Literal

import msgspec

InputSchema = Literal["EventGridSchema", "CloudEventSchemaV1_0", "CustomEventSchema"]
"""Azure's names of the schemas that a topic accepts."""
DeliverySchema = Literal["EventGridSchema", "CloudEventSchemaV1_0", "CustomInputSchema"]
"""Azure's names of the schemas that a subscription delivers; the last is the schema of the topic's own events."""

_KEY_BYTES = 32


def new_key() -> str:
    """A new key in Azure's form: Base64."""
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


class _Arm(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """A resource of Azure Resource Manager; the emulator refuses options that it does not imitate."""


class SourceField(_Arm, frozen=True):
    """The field of a published event that becomes a field of the Event Grid event."""

    source_field: str | None = None


class SourceFieldWithDefault(_Arm, frozen=True):
    """A field of a published event, a value for events without it, or both."""

    source_field: str | None = None
    default_value: str | None = None

    def __post_init__(self) -> None:
        """Require at least one of them, as Azure does."""
        if self.source_field is None and self.default_value is None:
            raise ValueError("sourceField or defaultValue is required")


class MappedFields(_Arm, frozen=True):
    """The fields of an Event Grid event, each with its source; Azure's ``JsonInputSchemaMapping``."""

    id: SourceField = SourceField()
    topic: SourceField = SourceField()
    event_time: SourceField = SourceField()
    event_type: SourceFieldWithDefault | None = None
    subject: SourceFieldWithDefault | None = None
    data_version: SourceFieldWithDefault | None = None


class InputSchemaMapping(_Arm, frozen=True, tag_field="inputSchemaMappingType", tag="Json"):
    """How events of a ``CustomEventSchema`` are read."""

    properties: MappedFields = MappedFields()


class Topic(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The configuration of a topic.

    Attributes:
        name: its name, which is part of its endpoint's URL.
        input_schema: the schema of published events.
        input_schema_mapping: how to read events of a ``CustomEventSchema``; None with another schema.
        key1: a key for publishers; Base64.
        key2: a second key, so that keys can be rotated.
    """

    name: str
    input_schema: InputSchema = "EventGridSchema"
    input_schema_mapping: InputSchemaMapping | None = None
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
    def properties(self) -> dict[str, Any]:
        """Its schema, as Azure Resource Manager shows it."""
        shown: dict[str, Any] = {"inputSchema": self.input_schema}
        if self.input_schema_mapping:
            shown["inputSchemaMapping"] = msgspec.to_builtins(self.input_schema_mapping)
        return shown

    @property
    def path(self) -> str:
        """The path to publish events to, below the emulator's URL."""
        return f"/topics/{self.name}/api/events"
