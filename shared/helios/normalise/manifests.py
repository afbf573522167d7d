"""Manifests: what an event of the type ``helios.manifest`` declares, and what can be wrong with it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from helios.errors import Rejected, quote
from helios.model.balances import MANIFEST_TYPE, Manifest, ManifestData
from helios.model.events import Event
from helios.model.payload import inner_json
from helios.normalise.fields import check_text, decode
from helios.normalise.times import read_time

MAX_AHEAD: Final = timedelta(days=1)
"""How far the minute of a manifest may be in the future."""

_decoder = msgspec.json.Decoder(ManifestData)


def check_manifest(event: Event, *, field: str) -> None:
    """Return if the payload of an event is that of a manifest.

    Args:
        event: the event.
        field: the field with the payload, in the sender's spelling; ``body`` for the whole body.

    Raises:
        Rejected: it is not; the error names the field.
    """
    _read(event, field)


def manifests_of(events: Sequence[Event]) -> list[Manifest]:
    """What the manifests among these events declare: one for each identity, sorted by identity.

    Raises:
        Rejected: the payload of a manifest was changed after it was checked, by HELIOS_REDACT.
    """
    greatest: dict[tuple[datetime, str, str, str, str, bool], Manifest] = {}
    for event in events:
        if event.type == MANIFEST_TYPE:
            for manifest in _declared(event):
                other = greatest.setdefault(manifest.identity, manifest)
                if other.rank < manifest.rank:
                    greatest[manifest.identity] = manifest
    return [greatest[identity] for identity in sorted(greatest)]


def _declared(event: Event) -> list[Manifest]:
    minute, data = _read(event, "data")
    return [
        Manifest(
            minute=minute,
            source=event.source,
            type=published.type,
            producer=event.producer if data.producer is None else data.producer,
            publisher=data.publisher,
            advisory=data.advisory,
            published=published.published,
            repeated=published.repeated,
            skew_seconds=data.skew_seconds,
            revision=data.revision,
            time=event.time,
            id=event.id,
        )
        for published in data.events
    ]


def _read(event: Event, field: str) -> tuple[datetime, ManifestData]:
    """The minute and the payload of a manifest."""
    within = "" if field == "body" else field
    text = bytes(event.data)
    text = inner_json(text) or text  # an object within a JSON string, as producers write it who serialize twice
    manifest = decode(_decoder, text, within=within)
    check_text(text, field=field)
    prefix = f"{within}." if within else ""
    minute = _minute(manifest.minute, event.received_at, f"{prefix}minute")
    _check_types(manifest, f"{prefix}events")
    return minute, manifest


def _minute(text: str, received_at: datetime, field: str) -> datetime:
    minute = read_time(text, field=field)
    if minute.second or minute.microsecond:
        reason = f"is {quote(text)}, within a minute: send its beginning, such as {minute:%Y-%m-%dT%H:%M}:00Z"
        raise Rejected(reason, field=field)
    if minute > received_at + MAX_AHEAD:
        raise Rejected("is more than a day in the future: send the minute in UTC", field=field)
    return minute


def _check_types(manifest: ManifestData, field: str) -> None:
    seen: set[str] = set()
    for number, published in enumerate(manifest.events):
        at = f"{field}[{number}]"
        if published.type in seen:
            raise Rejected(f"is {quote(published.type)} a second time: send each type once", field=f"{at}.type")
        if published.type == MANIFEST_TYPE:
            raise Rejected("is the type of manifests, which are not counted: leave it out", field=f"{at}.type")
        if published.repeated > published.published:
            raise Rejected("is greater than published, which includes repetitions", field=f"{at}.repeated")
        seen.add(published.type)
