"""Undeliverable events, stored as files in the layout of Event Grid's dead-letter blobs."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw

from local.emulators.eventgrid import schemas
from local.emulators.eventgrid.schemas import Event
from local.emulators.eventgrid.subscription import Subscription

PATH: Final = "/dead-letters"
"""Where the server shows the files as containers: the name of the storage account, as in Azure's own emulator."""


class Undeliverable(NamedTuple):
    """An undeliverable event and its delivery attempts; times in seconds since the epoch.

    Attributes:
        event: the event in the topic's schema.
        reason: Azure's ``deadLetterReason``.
        attempts: the number of delivery attempts.
        outcome: Azure's ``lastDeliveryOutcome``; empty without an attempt.
        published: the time when the event was accepted.
        attempted: the time of the last attempt; None without an attempt.
    """

    event: Event
    reason: str
    attempts: int
    outcome: str
    published: float
    attempted: float | None


def write(folder: Path, name: str, subscription: Subscription, events: Sequence[Undeliverable]) -> Path | None:
    """The file with these events, which this call writes; None when the subscription has no dead-letter destination.

    Names and fields are those of Microsoft's "Set dead-letter location and retry policy" and "Event Grid message
    delivery and retry": ``container/SUBSCRIPTION/year/month/day/hour/guid.json``, without leading zeros.

    Args:
        folder: the folder that replaces the storage account.
        name: the subscription's name.
        subscription: has the container and the schema.
        events: the events to write.
    """
    if subscription.dead_letter_destination is None:
        return None
    now = datetime.now(UTC)
    container = folder / subscription.dead_letter_destination.properties.blob_container_name
    hour = container / name.upper() / str(now.year) / str(now.month) / str(now.day) / str(now.hour)
    hour.mkdir(parents=True, exist_ok=True)
    path = hour / f"{uuid.uuid4()}.json"
    new_path = path.with_suffix(".new")
    new_path.write_bytes(msgspec.json.encode([_with_reason(event, subscription) for event in events]))
    new_path.replace(path)  # a reader never sees a partial file
    return path


def _with_reason(undeliverable: Undeliverable, subscription: Subscription) -> Event:
    cloud_events = subscription.event_delivery_schema == "CloudEventSchemaV1_0"
    facts = {
        "deadLetterReason": undeliverable.reason,
        "deliveryAttempts": undeliverable.attempts,
        "lastDeliveryOutcome": undeliverable.outcome,
        "publishTime": _time(undeliverable.published),
    }
    if undeliverable.attempted is not None:
        facts["lastDeliveryAttemptTime"] = _time(undeliverable.attempted)
    # CloudEvents allows only lower-case names.
    fields = {
        (name.lower() if cloud_events else name): Raw(msgspec.json.encode(value)) for name, value in facts.items()
    }
    if subscription.event_delivery_schema == "CustomInputSchema":
        return {"customEvent": undeliverable.event["data"]} | fields
    return (schemas.as_cloud_event(undeliverable.event) if cloud_events else undeliverable.event) | fields


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
