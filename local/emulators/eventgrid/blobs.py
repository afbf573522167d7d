"""The dead letters as a container of Azure's storage: the two calls of its REST API with which a client reads them.

Azure Blob Storage documentation, "List Blobs" and "Get Blob".
"""

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from aiohttp import web

MAX_RESULTS: Final = 5000
"""The largest number of blobs in one answer."""

_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")


class Blobs:
    """Reads the files of dead letters. Whoever has a key of a topic may read."""

    def __init__(self, folder: Path) -> None:
        """Take the folder that replaces the storage account."""
        self._folder = folder

    def listing(self, container: str, *, prefix: str = "", marker: str = "", most: int = MAX_RESULTS) -> str:
        """The answer of "List Blobs": the names after ``marker``, at most ``most`` of them, as XML."""
        names = [name for name in self._names(container) if name.startswith(prefix) and name > marker]
        listed, more = names[:most], names[most:]
        blobs = "".join(self._listed(container, name) for name in listed)
        following = escape(listed[-1]) if more else ""
        return (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="{escape(container)}">'
            f"<Blobs>{blobs}</Blobs><NextMarker>{following}</NextMarker></EnumerationResults>"
        )

    def get(self, container: str, name: str, range_: str | None) -> web.Response:
        """The answer of "Get Blob": all of it, or the bytes of a range.

        Raises:
            HTTPNotFound: there is no such blob.
        """
        if name not in self._names(container):
            raise web.HTTPNotFound
        path = self._folder / container / name
        content = path.read_bytes()
        headers = {"x-ms-blob-type": "BlockBlob", "ETag": _etag(path), "Last-Modified": _modified(path)}
        match = _RANGE.fullmatch(range_ or "")
        if match is None:
            return web.Response(body=content, headers=headers, content_type="application/json")
        first, last = int(match[1]), min(int(match[2] or len(content) - 1), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        part = content[first : last + 1]
        return web.Response(
            body=part, headers=headers, status=HTTPStatus.PARTIAL_CONTENT, content_type="application/json"
        )

    def _names(self, container: str) -> list[str]:
        folder = self._folder / container
        return sorted(path.relative_to(folder).as_posix() for path in folder.glob("**/*.json"))

    def _listed(self, container: str, name: str) -> str:
        path = self._folder / container / name
        return (
            f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>{_modified(path)}</Last-Modified>"
            f"<Etag>{escape(_etag(path))}</Etag><Content-Length>{path.stat().st_size}</Content-Length>"
            "<Content-Type>application/json</Content-Type><BlobType>BlockBlob</BlobType></Properties></Blob>"
        )


def _modified(path: Path) -> str:
    return format_datetime(datetime.fromtimestamp(path.stat().st_mtime, UTC), usegmt=True)


def _etag(path: Path) -> str:
    return f'"{path.stat().st_mtime_ns:x}"'
