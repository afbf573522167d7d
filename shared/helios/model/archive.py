"""The archive: files of events in object storage, the manifest that lists them, and what a check finds."""

from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Literal

import msgspec

from helios.model.sources import Source

IndexedField = Literal["order_id", "customer_id", "id"]
INDEXED_FIELDS: tuple[IndexedField, ...] = ("order_id", "customer_id")
"""The fields by which the manifest finds the files of an event."""
LOG_INDEXED_FIELDS: tuple[IndexedField, ...] = (*INDEXED_FIELDS, "id")
"""Those of events that were archived from the log: Postgres does not know when an id was received."""

_HALF = 1 << 64


class Contents(msgspec.Struct, frozen=True):
    """What a set of events contains, as Postgres and DuckDB both compute it.

    Attributes:
        rows: the number of events.
        digest: 32 hex digits: the MD5 of each event's columns, added up in two halves of 64 bits. The order of the
            events has no influence, and the digests of two parts add up to the digest of both. It finds faults and
            mistakes; the SHA-256 of a file finds intent.
    """

    rows: int = 0
    digest: str = "0" * 32

    def __add__(self, other: "Contents") -> "Contents":
        """The contents of both sets, which have no event in common."""
        return Contents(self.rows + other.rows, _digest(*map(sum, zip(_halves(self), _halves(other), strict=True))))


def contents(rows: int, high: int, low: int) -> Contents:
    """The contents whose hashes have these sums; the sums may be of any size."""
    return Contents(rows, _digest(high, low))


def total(parts: Iterable[Contents]) -> Contents:
    """The contents of several sets, which have no event in common."""
    return sum(parts, Contents())


def _halves(part: Contents) -> tuple[int, int]:
    return int(part.digest[:16], 16), int(part.digest[16:], 16)


def _digest(high: int, low: int) -> str:
    return f"{high % _HALF:016x}{low % _HALF:016x}"


class ArchiveFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the archive, as the manifest lists it.

    Attributes:
        path: below the URL of the archive: ``source=aws/day=2026-01-31/<name>.parquet``.
        day: the UTC day on which its events were received.
        bytes: the size of the file.
        sha256: of the file, 64 hex digits.
        verified_at: when the file was read back and compared; None: it is being written, and no reader uses it.
        from_log: whether its events were archived from the log, and are not in Postgres.
    """

    path: str
    source: Source
    day: date
    contents: Contents
    bytes: int
    first_received_at: datetime
    last_received_at: datetime
    sha256: str
    verified_at: datetime | None = None
    from_log: bool = False


class IndexEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The values of one field in one file whose hashes begin with the same bits.

    Attributes:
        bits: how many bits of the hash select the bucket.
        bucket: these bits, as a number.
        hashes: four bytes of each hash.
    """

    field: IndexedField
    bits: int
    bucket: int
    hashes: bytes


class LocalFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file on this machine that is ready to be archived.

    Attributes:
        location: where it is on this machine.
        entry: its line in the manifest.
        index: its entries in the index.
    """

    location: Path
    entry: ArchiveFile
    index: list[IndexEntry]


class FileFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which files; None means any. ``since`` and ``until`` limit ``received_at``: since <= received_at < until.

    Attributes:
        field: with ``value``, only files in which an event may have this value.
        only_archived: only files whose events are not in Postgres: of days that are in no partition, and of the log.
        from_log: only files of the log.
    """

    source: Source | None = None
    since: datetime | None = None
    until: datetime | None = None
    field: IndexedField | None = None
    value: str | None = None
    only_archived: bool = False
    from_log: bool = False


class Finding(msgspec.Struct, frozen=True):
    """Something that a check found wrong with a file or a day: its name, and what is wrong."""

    subject: str
    reason: str


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What ``run`` did.

    Attributes:
        busy: another process works on the archive; this one did nothing.
        days: the number of days that were compared with the archive.
        files: the number of files that were written.
        rows: the number of events in them.
        removed: the number of files that an interrupted run or an erasure had left.
    """

    busy: bool = False
    days: int = 0
    files: int = 0
    rows: int = 0
    removed: int = 0
