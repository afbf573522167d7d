"""The places that the settings name."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final

from helios.errors import ConfigurationError, Rejected
from helios.model.recoveries import PlaceSearch
from helios.model.sources import Source
from helios.ports.recoveries import Place, Places, Wanted
from helios.settings import Settings

SETTING: Final = "HELIOS_RECOVERY_PLACES"

LIBRARIES: Final = {"aws": "boto3", "gcp": "google-cloud-pubsub", "azure": "azure-storage-blob and azure-identity"}
"""The libraries with which each cloud is searched."""

TARGET: Final = "aws-queue"
"""The entry that names the target of a replay, which is no place."""


class ConfiguredPlace:
    """Implements ``Place`` with one whose library is imported, and whose client is built, when it is first used.

    Every process reads the names of the places, and few search them.
    """

    def __init__(self, name: str, source: Source, build: Callable[[], Place]) -> None:
        """Take the name, the cloud, and what builds the place."""
        self.name = name
        self.source = source
        self._build = build
        self._place: Place | None = None

    def search(self, wanted: Wanted) -> PlaceSearch:
        """Search the place."""
        return self._opened().search(wanted)

    def drop_except(self, names: Collection[str], *, prefix: str) -> int:
        """Remove what is no longer used."""
        return self._opened().drop_except(names, prefix=prefix)

    def _opened(self) -> Place:
        if self._place is None:
            try:
                self._place = self._build()
            except ImportError as error:
                raise Rejected(
                    f"requires {LIBRARIES[self.source]}, which is not installed here", field=SETTING
                ) from error
        return self._place


def places_of(settings: Settings) -> Places:
    """The places that HELIOS_RECOVERY_PLACES names, by cloud.

    Raises:
        ConfigurationError: an entry is not KIND=NAME, or another one is missing.
    """
    named: dict[str, str] = {}
    for entry in (settings.recovery_places or "").split():
        kind, _, name = entry.partition("=")
        if kind not in {*_BUILDERS, TARGET} or not name or kind in named:
            kinds = ", ".join((*_BUILDERS, TARGET))
            raise ConfigurationError(f"{SETTING}: {entry!r} is not KIND=NAME with one of {kinds}, each once")
        named[kind] = name
    if ("aws-archive" in named) != (TARGET in named):
        raise ConfigurationError(f"{SETTING}: aws-archive needs {TARGET}, the ARN of the ingest function's queue")
    places: dict[Source, list[Place]] = {}
    for kind, (source, label, build) in _BUILDERS.items():
        if kind in named:
            name = f"{label} {named[kind]}"
            place = ConfiguredPlace(name, source, partial(build, named, settings, name))
            places.setdefault(source, []).append(place)
    return places


Builder = Callable[[Mapping[str, str], Settings, str], Place]
"""Builds a place from the names by kind, the settings, and the name of the place."""


def _queue(named: Mapping[str, str], _: Settings, name: str) -> Place:
    from helios.adapters.recovery.eventbridge import DeadLetterQueuePlace

    return DeadLetterQueuePlace(named["aws-dead-letters"], name=name)


def _archive(named: Mapping[str, str], _: Settings, name: str) -> Place:
    from helios.adapters.recovery.eventbridge import ArchivePlace

    return ArchivePlace(named["aws-archive"], named[TARGET], name=name)


def _subscription(named: Mapping[str, str], _: Settings, name: str) -> Place:
    from helios.adapters.recovery.pubsub import DeadLettersPlace

    return DeadLettersPlace(named["gcp-dead-letters"], name=name)


def _topic(named: Mapping[str, str], _: Settings, name: str) -> Place:
    from helios.adapters.recovery.pubsub import TopicPlace

    return TopicPlace(named["gcp-topic"], name=name)


def _blobs(named: Mapping[str, str], settings: Settings, name: str) -> Place:
    from helios.adapters.recovery.eventgrid import DeadLetterBlobsPlace

    return DeadLetterBlobsPlace(named["azure-dead-letters"], settings.recovery_azure_secret, name=name)


_BUILDERS: Final[Mapping[str, tuple[Source, str, Builder]]] = {
    "aws-dead-letters": ("aws", "the dead letters of", _queue),
    "aws-archive": ("aws", "the archive", _archive),
    "gcp-dead-letters": ("gcp", "the dead letters of", _subscription),
    "gcp-topic": ("gcp", "the retained messages of", _topic),
    "azure-dead-letters": ("azure", "the dead letters in", _blobs),
}
"""By the kind of a place: its cloud, how its name begins, and what builds it. A cloud's places are searched in this
order: dead letters first, as they are removed from there."""
