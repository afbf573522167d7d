"""Parts of the archive's files as a file system of fsspec, through which DuckDB reads only what a query needs."""

from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from typing import Any, ClassVar

import obstore
from fsspec import AbstractFileSystem
from fsspec.spec import AbstractBufferedFile
from obstore.store import ObjectStore

PROTOCOL = "archive"

READ_AHEAD_BYTES = 1 << 18
"""Read at once, beyond what DuckDB asks for: the parts of a small file then take one or two requests."""

_IMMUTABLE = datetime(2000, 1, 1, tzinfo=UTC)
"""The time of change of every file: its name contains its hash, so it never changes."""


class RangeFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no type hints
    """Reads ranges of the files in an object store, and adds up what it reads.

    Attributes:
        bytes_read: the bytes of all requests so far.
        requests: their number.
        opened: the files that were read.
    """

    protocol: ClassVar[str] = PROTOCOL
    cachable = False

    def __init__(self, store: Callable[[], ObjectStore]) -> None:
        """Take a function that returns the store.

        fsspec turns its arguments into text, which obstore's store of Azure can't be if its account is in the
        environment.
        """
        super().__init__()
        self.bytes_read = 0
        self.requests = 0
        self.opened: set[str] = set()
        self._store = store()
        self._sizes: dict[str, int] = {}
        self._lock = Lock()

    def know(self, path: str, size: int) -> None:
        """Take the size of a file from the manifest, which saves a request."""
        self._sizes[path] = size

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """The bytes from ``start`` to before ``end``."""
        part = bytes(obstore.get_range(self._store, path, start=start, end=end))
        with self._lock:
            self.bytes_read += len(part)
            self.requests += 1
            self.opened.add(path)
        return part

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """The size of a file."""
        name = self._strip_protocol(path)
        if name not in self._sizes:
            self._sizes[name] = obstore.head(self._store, name)["size"]
        return {"name": name, "size": self._sizes[name], "type": "file"}

    def modified(self, _path: str) -> datetime:
        """When a file was changed: never."""
        return _IMMUTABLE

    def glob(self, path: str, **_: Any) -> list[str]:
        """The path: the manifest lists the files, so that no pattern is searched."""
        return [path]

    def _open(self, path: str, mode: str = "rb", **_: Any) -> "RangeFile":
        return RangeFile(
            self, path, mode, block_size=READ_AHEAD_BYTES, cache_type="readahead", size=self.info(path)["size"]
        )


class RangeFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no type hints
    """An open file of RangeFileSystem."""

    def read(self, length: int = -1) -> bytes:
        """The next bytes. A large part is not copied through the cache of what was read ahead."""
        if length < READ_AHEAD_BYTES:
            part: bytes = super().read(length)
        else:
            part = self.fs.read_range(self.path, self.loc, min(self.loc + length, self.size))
            self.loc += len(part)
        return part

    def _fetch_range(self, start: int, end: int) -> bytes:
        part: bytes = self.fs.read_range(self.path, start, end)
        return part
