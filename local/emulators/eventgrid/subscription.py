"""An event subscription, in the form of Azure Resource Manager's ``Microsoft.EventGrid/eventSubscriptions``.

Parsing is strict: the emulator refuses an unknown option, and never ignores one.
"""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import Meta

from local.emulators.eventgrid.topic import DeliverySchema

ProvisioningState = Literal["Creating", "AwaitingManualAction", "Succeeded", "Failed"]

SECRET = "Hidden"  # noqa: S105 - Azure's replacement for a secret header's value  # pragma: allowlist secret
MAX_DELIVERY_HEADERS = 10
"""Microsoft's "Custom delivery properties"."""


class _Arm(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One object of a subscription's JSON."""


class StaticValue(_Arm, frozen=True):
    """A header's fixed value."""

    value: Annotated[str, Meta(max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*$")]
    is_secret: bool = False


class DynamicValue(_Arm, frozen=True):
    """The path of a header's value in the event: ``subject``, ``data.customer``."""

    source_field: str


HeaderName = Annotated[str, Meta(pattern=r"^(?![Aa][Ee][Gg]-)[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
"""A header's name. The prefix ``aeg-`` is reserved for Event Grid ("Custom delivery properties")."""


class StaticHeader(_Arm, frozen=True, tag_field="type", tag="Static"):
    """A header that is the same on every delivery."""

    name: HeaderName
    properties: StaticValue


class DynamicHeader(_Arm, frozen=True, tag_field="type", tag="Dynamic"):
    """A header taken from the event."""

    name: HeaderName
    properties: DynamicValue


class WebHookProperties(_Arm, frozen=True):
    """The endpoint, its batch size ("Output batching"), its headers, and the tenant and audience of Entra's token."""

    endpoint_url: Annotated[str, Meta(pattern=r"^https?://[^/]+")]
    max_events_per_batch: Annotated[int, Meta(ge=1, le=5000)] = 1
    preferred_batch_size_in_kilobytes: Annotated[int, Meta(ge=1, le=1024)] = 64
    delivery_attribute_mappings: Annotated[
        list[StaticHeader | DynamicHeader], Meta(max_length=MAX_DELIVERY_HEADERS)
    ] = []
    azure_active_directory_tenant_id: str | None = None
    azure_active_directory_application_id_or_uri: str | None = None

    def __post_init__(self) -> None:
        """Require both or neither of the tenant and the application."""
        if bool(self.azure_active_directory_tenant_id) != bool(self.azure_active_directory_application_id_or_uri):
            raise ValueError("azureActiveDirectoryTenantId and azureActiveDirectoryApplicationIdOrUri belong together")


class WebHook(_Arm, frozen=True, tag_field="endpointType", tag="WebHook"):
    """A webhook, the only imitated kind of destination."""

    properties: WebHookProperties


class AdvancedFilter(_Arm, frozen=True):
    """One condition on a field; see ``filters``."""

    operator_type: str
    key: str
    value: bool | int | float | None = None
    values: list[Any] = []


class Filter(_Arm, frozen=True):
    """The filter of a subscription; an event must meet all conditions."""

    included_event_types: list[str] | None = None
    subject_begins_with: str = ""
    subject_ends_with: str = ""
    is_subject_case_sensitive: bool = False
    advanced_filters: Annotated[list[AdvancedFilter], Meta(max_length=25)] = []


class RetryPolicy(_Arm, frozen=True):
    """The limits of retries; the first one that is reached applies ("Set dead-letter location and retry policy")."""

    max_delivery_attempts: Annotated[int, Meta(ge=1, le=30)] = 30
    event_time_to_live_in_minutes: Annotated[int, Meta(ge=1, le=1440)] = 1440


class BlobProperties(_Arm, frozen=True):
    """A blob container; here a folder."""

    blob_container_name: Annotated[str, Meta(pattern=r"^[a-z0-9](-?[a-z0-9])*$", max_length=63)]
    resource_id: str = ""


class StorageBlob(_Arm, frozen=True, tag_field="endpointType", tag="StorageBlob"):
    """The destination of undeliverable events."""

    properties: BlobProperties


class Subscription(_Arm, frozen=True):
    """The ``properties`` of an event subscription."""

    destination: WebHook
    filter: Filter = Filter()
    event_delivery_schema: DeliverySchema | None = None
    retry_policy: RetryPolicy = RetryPolicy()
    dead_letter_destination: StorageBlob | None = None
    labels: list[str] = []

    @property
    def webhook(self) -> WebHookProperties:
        """The webhook of the subscription."""
        return self.destination.properties


def base_url(endpoint_url: str) -> str:
    """The endpoint's URL without its query, which may contain a key, for answers and logs."""
    return urlunsplit(urlsplit(endpoint_url)._replace(query="", fragment=""))


def redacted(subscription: Subscription) -> dict[str, Any]:
    """The ``properties`` as Azure shows them, without the endpoint's query and the values of secret headers."""
    properties: dict[str, Any] = msgspec.to_builtins(subscription)
    webhook = properties["destination"]["properties"]
    webhook["endpointBaseUrl"] = base_url(webhook.pop("endpointUrl"))
    for header in webhook["deliveryAttributeMappings"]:
        if header["properties"].get("isSecret"):
            header["properties"]["value"] = SECRET
    return properties
