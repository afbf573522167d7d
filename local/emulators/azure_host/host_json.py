"""The settings in ``host.json`` that this host supports."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec

from local.emulators.azure_host.errors import NotHostable


class _Http(msgspec.Struct, rename="camel"):
    route_prefix: str = "api"


_Duration = Annotated[str, msgspec.Meta(pattern=r"^\d+:\d\d:\d\d$")]


class Queues(msgspec.Struct, rename="camel"):
    """Microsoft's "Azure Queue storage trigger", ``host.json``, with its defaults.

    Attributes:
        batch_size: how many messages are received at a time.
        new_batch_threshold: receive again when no more messages than these are being processed.
        max_polling_interval: the longest pause between two requests to an empty queue.
        visibility_timeout: how long a failed message waits before it is processed again.
        max_dequeue_count: the number of attempts before a message is moved to the poison queue.
        message_encoding: ``base64``, or ``none`` for plain text.
    """

    batch_size: Annotated[int, msgspec.Meta(ge=1, le=32)] = 16
    new_batch_threshold: Annotated[int, msgspec.Meta(ge=0)] = 8
    max_polling_interval: _Duration = "00:01:00"
    visibility_timeout: _Duration = "00:00:00"
    max_dequeue_count: Annotated[int, msgspec.Meta(ge=1)] = 5
    message_encoding: str = "base64"

    @staticmethod
    def seconds(duration: str) -> int:
        """The seconds in ``HH:MM:SS``."""
        hours, minutes, seconds = map(int, duration.split(":"))
        return int(timedelta(hours=hours, minutes=minutes, seconds=seconds).total_seconds())


class _Extensions(msgspec.Struct):
    http: _Http = msgspec.field(default_factory=_Http)
    queues: Queues = msgspec.field(default_factory=Queues)


class HostJson(msgspec.Struct, rename="camel"):
    """The supported part of Microsoft's "host.json reference"; the rest is ignored.

    Attributes:
        version: the version of the schema; 2.0 since version 2 of the real host.
    """

    version: Annotated[str, msgspec.Meta(pattern=r"^2\.0$")]
    extensions: _Extensions = msgspec.field(default_factory=_Extensions)

    @property
    def route_prefix(self) -> str:
        """The prefix of the route of every HTTP function; may be empty."""
        return self.extensions.http.route_prefix.strip("/")

    @property
    def queues(self) -> Queues:
        """The settings of all queue triggers."""
        return self.extensions.queues


_IMITATED = {
    "version",
    "extensions",
    "extensions.http",
    "extensions.http.routePrefix",
    "extensions.queues",
    *(f"extensions.queues.{field.encode_name}" for field in msgspec.structs.fields(Queues)),
}


def load(folder: Path) -> tuple[HostJson, list[str]]:
    """The settings in the folder's ``host.json``, and the names of those that have no effect here.

    Raises:
        NotHostable: the file is missing or invalid. The real host does not start without it either.
    """
    path = folder / "host.json"
    try:
        content = path.read_bytes()
        return msgspec.json.decode(content, type=HostJson), _without_effect(msgspec.json.decode(content))
    except FileNotFoundError as error:
        raise NotHostable(f"{path} is missing") from error
    except msgspec.DecodeError as error:
        raise NotHostable(f"{path}: {error}") from error


def _without_effect(settings: dict[str, Any], above: str = "") -> list[str]:
    paths = []
    for name, value in settings.items():
        path = above + name
        if path not in _IMITATED:
            paths.append(path)
        elif isinstance(value, dict):
            paths += _without_effect(value, f"{path}.")
    return paths
