"""The settings in ``host.json`` that this host supports."""

from pathlib import Path
from typing import Annotated, Any

import msgspec

from local.emulators.azure_host.errors import NotHostable


class _Http(msgspec.Struct, rename="camel"):
    route_prefix: str = "api"


class _Extensions(msgspec.Struct):
    http: _Http = msgspec.field(default_factory=_Http)


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


_IMITATED = {"version", "extensions", "extensions.http", "extensions.http.routePrefix"}


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
