"""The body and the headers of a delivery."""

import re
from collections.abc import Sequence

import msgspec

from local.emulators.eventgrid import filters, schemas
from local.emulators.eventgrid.schemas import Event
from local.emulators.eventgrid.subscription import StaticHeader, Subscription

ORIGIN = "eventgrid.azure.net"
"""Event Grid's own name in ``WebHook-Request-Origin``."""

_UNFIT = re.compile(r"[\x00-\x1f\x7f]")

_encode = msgspec.json.Encoder().encode


def body(events: Sequence[Event], subscription: Subscription) -> tuple[bytes, str]:
    """The body of a notification, and its content type.

    Events are delivered as an array, even a single one. The exception is a CloudEvents subscription without batching,
    which receives the event itself (Microsoft's "CloudEvents v1.0 schema with Azure Event Grid").
    """
    if subscription.event_delivery_schema == "EventGridSchema":
        return _encode(events), "application/json; charset=utf-8"
    if subscription.event_delivery_schema == "CustomInputSchema":
        return _encode([event["data"] for event in events]), "application/json; charset=utf-8"
    converted = [schemas.as_cloud_event(event) for event in events]
    if subscription.webhook.max_events_per_batch == 1:
        return _encode(converted[0]), "application/cloudevents+json; charset=utf-8"
    return _encode(converted), "application/cloudevents-batch+json; charset=utf-8"


def headers(event_type: str, name: str, subscription: Subscription, *, attempts: int = 0) -> dict[str, str]:
    """The headers that do not depend on the events.

    Args:
        event_type: ``Notification``, ``SubscriptionValidation`` or ``SubscriptionDeletion``.
        name: the subscription's name.
        subscription: its headers with a fixed value are added.
        attempts: the number of earlier attempts.
    """
    fixed = {
        header.name: header.properties.value
        for header in subscription.webhook.delivery_attribute_mappings
        if isinstance(header, StaticHeader)
    }
    return fixed | {
        "aeg-event-type": event_type,
        "aeg-subscription-name": name.upper(),
        "aeg-delivery-count": str(attempts),
        "aeg-metadata-version": "1",
    }


def event_headers(event: Event, subscription: Subscription) -> dict[str, str]:
    """The headers with values from an event; for a batch, from its first event."""
    values = {
        header.name: filters.text_at(event, header.properties.source_field)
        for header in subscription.webhook.delivery_attribute_mappings
        if not isinstance(header, StaticHeader)
    }
    values["aeg-data-version"] = schemas.text(event, "dataVersion") or ""
    # A value that is invalid in a header is left out, as in Azure: a line break in an event must not stop its delivery.
    return {name: value for name, value in values.items() if value is not None and not _UNFIT.search(value)}
