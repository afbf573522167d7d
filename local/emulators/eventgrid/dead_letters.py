"""Events that could not be delivered, as files in the layout of Event Grid's dead-letter blobs."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Raw

from local.emulators.eventgrid import schemas
from local.emulators.eventgrid.schemas import Event
from local.emulators.eventgrid.subscription import Subscription


class Undeliverable(NamedTuple):
    """One event and how its delivery went; times in seconds since the epoch.

    Attributes:
        event: in the topic's schema.
        reason: Azure's ``deadLetterReason``.
        attempts: how many deliveries were tried.
        outcome: Azure's ``lastDeliveryOutcome``; empty when none was tried.
        published: when it was accepted.
        attempted: when the last delivery was tried; None if none was.
    """

    event: Event
    reason: str
    attempts: int
    outcome: str
    published: float
    attempted: float | None


def write(folder: Path, name: str, subscription: Subscription, letters: Sequence[Undeliverable]) -> Path | None:
    """Keep these events, which share a file, or None when the subscription asks for no dead-lettering.

    Names and fields are those of Microsoft's "Set dead-letter location and retry policy" and "Event Grid message
    delivery and retry": ``container/SUBSCRIPTION/year/month/day/hour/guid.json``, without leading zeros.

    Args:
        folder: stands for the storage account.
        name: the subscription's.
        subscription: tells the container and the schema.
        letters: what to keep.
    """
    if subscription.dead_letter_destination is None:
        return None
    now = datetime.now(UTC)
    container = folder / subscription.dead_letter_destination.properties.blob_container_name
    hour = container / name.upper() / str(now.year) / str(now.month) / str(now.day) / str(now.hour)
    hour.mkdir(parents=True, exist_ok=True)
    path = hour / f"{uuid.uuid4()}.json"
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode([_explained(letter, subscription) for letter in letters]))
    fresh.replace(path)  # a reader never sees half a file
    return path


def _explained(letter: Undeliverable, subscription: Subscription) -> Event:
    cloud_events = subscription.event_delivery_schema == "CloudEventSchemaV1_0"
    facts = {
        "deadLetterReason": letter.reason,
        "deliveryAttempts": letter.attempts,
        "lastDeliveryOutcome": letter.outcome,
        "publishTime": _time(letter.published),
    }
    if letter.attempted is not None:
        facts["lastDeliveryAttemptTime"] = _time(letter.attempted)
    # CloudEvents allows only lower-case names.
    named = {(name.lower() if cloud_events else name): Raw(msgspec.json.encode(value)) for name, value in facts.items()}
    return (schemas.as_cloud_event(letter.event) if cloud_events else letter.event) | named


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
