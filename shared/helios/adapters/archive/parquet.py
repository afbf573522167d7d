"""Files of events in Parquet: DuckDB writes them from Postgres, and reads them."""

import hashlib
import importlib.util
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from msgspec.structs import replace
from obstore.store import ObjectStore

from helios.adapters.archive import INSTALL
from helios.adapters.archive.ranges import PROTOCOL, RangeFileSystem
from helios.adapters.archive.tiered import FileReplaced
from helios.adapters.postgres.connection import conninfo
from helios.adapters.postgres.events import PLACE, event_from_row
from helios.errors import ConfigurationError, Retryable
from helios.model.archive import (
    INDEXED_FIELDS,
    LOG_INDEXED_FIELDS,
    ArchiveFile,
    Contents,
    IndexedField,
    IndexEntry,
    LocalFile,
    contents,
)
from helios.model.erasure import ESCAPE, Selector, spelled
from helios.model.events import Event
from helios.model.sources import Source

FILE_SIZE = "128MB"
"""The size at which a new file begins: after the row group that passes it, and so below 256 MB."""

ROW_GROUP_ROWS = 122_880
"""DuckDB's default, and the most. A row group is the smallest part that a search by order reads."""

ROW_GROUP_BYTES = 128_000_000
"""The size of a row group before its compression. DuckDB has about twice as much in memory while it writes one, and
ends a file only after one. DuckDB's own limit in bytes is not available for rows in an order."""

VECTOR_ROWS = 2048
"""DuckDB begins a new row group only after a multiple of this."""

BITS = ((256, 0), (4096, 4), (65_536, 8))
"""How many bits select a bucket of the index, by the number of values in the file; 12 for more. A bucket then has some
256 values, or a kilobyte."""
MOST_BITS = 12

NAME_DIGITS = 32
"""How many hex digits of a SHA-256 name a file."""

MEGABYTES = 1000
"""The most memory that DuckDB uses in a process; it writes what does not fit to a temporary folder."""

DICTIONARY_BYTES = 20_000_000
"""The largest dictionary of a row group. A column with a dictionary has a Bloom filter, by which a search for an order
skips the row group."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

COLUMNS = (
    "source, producer, id, type, subject, time, received_at, data, attributes, order_id, customer_id, amount, digest"
)
"""The columns of a file: those of ``hot_events``. ``amount`` is text, and so exact."""

COLUMNS_AS_TEXT = COLUMNS.replace("time, received_at", "time::text, received_at::text")

EVENT_COLUMNS = """
source, producer, id, type, subject, epoch_us(time), epoch_us(received_at), data, attributes, order_id, customer_id,
amount, digest
"""
"""The columns that ``event_of`` reads. Times are numbers: they need no conversion between time zones."""

FETCH_ROWS = 5_000
"""Rows read at once from DuckDB."""

_TEXTS = f"concat_ws(chr(10), {COLUMNS.replace('time, received_at, ', '')})"

# The same expression as in the Postgres adapter.
_HASH = f"""
md5(concat(
    {", ".join(f"strlen({name}), ':', {name}" for name in ("source", "producer", "id", "type", "subject"))},
    epoch_us(time), ':', epoch_us(received_at), ':',
    {
    ", ".join(
        f"strlen({name}), ':', {name}" for name in ("data", "attributes", "order_id", "customer_id", "amount", "digest")
    )
}
))
"""

_CONTENTS = """
SELECT count(*), coalesce(sum(('0x' || left(hash, 16))::UBIGINT), 0),
       coalesce(sum(('0x' || right(hash, 16))::UBIGINT), 0)
FROM ({hashes})
"""
_HASHES = f"SELECT {_HASH} AS hash FROM read_parquet(?, hive_partitioning = false)"  # noqa: S608 - only constants are filled in

_FIRST_HASHES = f"""
SELECT arg_min({_HASH}, (received_at, {_HASH})) AS hash FROM read_parquet(?, hive_partitioning = false)
GROUP BY source, producer, id
"""  # noqa: S608 - only constants are filled in
"""The hash of each event once: of its first row in ``_FIRST``."""

_FIRST = f"row_number() OVER (PARTITION BY source, producer, id ORDER BY received_at, {_HASH}) = 1"
"""Whether a row is the one that a merge writes of its event."""

_EXTENT = """
SELECT epoch_us(min(received_at)), epoch_us(max(received_at)), {counts}
FROM read_parquet(?)
"""

MAX_LINE_BYTES = 1 << 28
"""The longest line of a temporary file: bodies have up to 32 MB, and more as text of JSON."""

_LINES = f"""
SELECT {COLUMNS.replace("time, received_at", "make_timestamptz(time) AS time, make_timestamptz(received_at) AS received_at")}
FROM read_json({{file}}, format = 'newline_delimited', maximum_object_size = {MAX_LINE_BYTES}, columns = {{columns}})
ORDER BY {PLACE}
"""  # noqa: E501, S608 - a list of columns; only constants and the name of a temporary file are filled in

_LINE_TYPES = {name: "BIGINT" if name.strip() in {"time", "received_at"} else "VARCHAR" for name in COLUMNS.split(", ")}


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate the errors of DuckDB, and those of the object store under it.

    Raises:
        FileReplaced: a file is not there.
        Retryable: any other of them.
    """
    try:
        yield
    except (duckdb.Error, OSError) as error:
        # DuckDB names the type of an error that reading has raised only in its text.
        is_absent = isinstance(error, FileNotFoundError) or str(error).startswith(FileNotFoundError.__name__)
        raise (FileReplaced if is_absent else Retryable)(f"Archive: {first_line(error)}") from error


_CONNECTION = re.compile(r'(Postgres) at ".*":', re.DOTALL)
"""DuckDB quotes the string with which it connects, and so the password."""


def first_line(error: Exception) -> str:
    """What an error says, without the connection string of Postgres."""
    return _CONNECTION.sub(r"\1:", str(error)).partition("\n")[0]


class DuckDb:
    """A DuckDB without data of its own, which reads the archive, and Postgres if it is asked to.

    It is safe to use from several threads. Nothing is downloaded: the extension that reads Postgres is in a wheel, and
    DuckDB loads it only with the signature of DuckDB's makers.
    """

    def __init__(self, store: ObjectStore, *, database_url: str, threads: int, megabytes: int = MEGABYTES) -> None:
        """Open a database in memory.

        Args:
            store: holds the files.
            database_url: Postgres; it is connected to when ``attach_postgres`` is called.
            threads: how many threads read. Files are written in order only with one.
            megabytes: the most memory that it uses.
        """
        self.files = RangeFileSystem(lambda: store)
        self._conninfo = conninfo(database_url)
        # DuckDB's files have fixed names, and it removes all of them when it closes: also those of another process.
        self._folder = tempfile.TemporaryDirectory(prefix="helios-duckdb-")
        self._connection = duckdb.connect(
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "memory_limit": f"{megabytes}MB",
                "threads": str(threads),
                "temp_directory": self._folder.name,
            }
        )
        self._connection.execute("SET GLOBAL TimeZone = 'UTC'")
        self._connection.register_filesystem(self.files)
        self._attached = False

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection to the same database, for one thread."""
        return self._connection.cursor()

    def urls(self, files: Sequence[ArchiveFile]) -> list[str]:
        """The URLs under which ``read_parquet`` finds files."""
        for file in files:
            self.files.know(file.path, file.bytes)
        return [f"{PROTOCOL}://{file.path}" for file in files]

    def attach_postgres(self) -> None:
        """Make the tables of Postgres readable as ``hot.public.<table>``.

        Raises:
            ConfigurationError: the extension is not installed, or not that of this version of DuckDB.
            Retryable: Postgres can't be reached.
        """
        if self._attached:
            return
        cursor = self.cursor()
        try:
            cursor.execute(f"LOAD '{_extension()}'")
        except duckdb.Error as error:
            raise ConfigurationError(f"DuckDB can't load its Postgres extension: {error}") from error
        with translate_errors():
            cursor.execute(f"ATTACH {literal(self._conninfo)} AS hot (TYPE postgres, READ_ONLY)")
        self._attached = True

    def close(self) -> None:
        """Close the database, and remove its temporary files."""
        self._connection.close()
        self._folder.cleanup()


def row_group_rows(row_bytes: float) -> int:
    """The rows of a row group whose payloads, with their attributes, have a mean size."""
    vectors = int(ROW_GROUP_BYTES / max(row_bytes, 1)) // VECTOR_ROWS
    return min(max(vectors, 1) * VECTOR_ROWS, ROW_GROUP_ROWS)


class ParquetFormat:
    """Implements ``ArchiveFormat``."""

    def __init__(self, database: DuckDb) -> None:
        self._database = database

    def write(self, source: Source, day: date, known: Sequence[ArchiveFile], folder: Path) -> list[LocalFile]:
        """Write the events in Postgres of one source and day that are in none of the known files."""
        self._database.attach_postgres()
        events = f"""
            hot_events WHERE source = {literal(source)} AND received_at >= '{day}T00:00:00Z'
            AND received_at < '{day + timedelta(days=1)}T00:00:00Z'
        """
        rows = f"SELECT * FROM {events} ORDER BY {PLACE}"  # noqa: S608 - a name without quotes (SOURCE_PATTERN), and dates
        query = f"SELECT * FROM postgres_query('hot', $${rows}$$)"  # noqa: S608 - the same
        size = f"SELECT avg(octet_length(data) + octet_length(attributes))::float8 AS size FROM {events}"  # noqa: S608 - the same
        if known:
            query += (
                f" AS hot ANTI JOIN read_parquet({self._database.urls(known)}, hive_partitioning = false) AS known"
                f" USING (source, producer, id)"
            )
            query = f"SELECT {COLUMNS} FROM ({query}) ORDER BY {PLACE}"  # noqa: S608 - the same
        row_bytes = self._number(f"SELECT size FROM postgres_query('hot', $${size}$$)")  # noqa: S608 - the same
        return self.write_query(query, source, day, folder, row_bytes=row_bytes)

    def write_events(
        self, source: Source, day: date, events: Sequence[Event], name: str, folder: Path
    ) -> list[LocalFile]:
        """Write events of the log, which were received from one source on one UTC day."""
        with tempfile.NamedTemporaryFile(prefix="helios-archive-", suffix=".ndjson") as lines:
            lines.writelines(msgspec.json.encode(_line(event)) + b"\n" for event in events)
            lines.flush()
            query = _LINES.format(file=literal(lines.name), columns=_LINE_TYPES)
            row_bytes = lines.tell() / max(len(events), 1)
            return self.write_query(query, source, day, folder, row_bytes=row_bytes, from_log=True, name=name)

    def merge(self, files: Sequence[ArchiveFile], folder: Path) -> list[LocalFile]:
        """Write files of one source and day again as one, with each event once."""
        query = f"""
            SELECT {COLUMNS} FROM read_parquet({self._database.urls(files)}, hive_partitioning = false)
            QUALIFY {_FIRST} ORDER BY {PLACE}
        """  # noqa: S608 - only constants are filled in
        # Not by the content: if the others have only copies of its events, that is the content of one of the files.
        name = hashlib.sha256("\n".join(file.path for file in files).encode()).hexdigest()[:NAME_DIGITS]
        row_bytes = self._row_bytes(files)
        return self.write_query(
            query, files[0].source, files[0].day, folder, row_bytes=row_bytes, from_log=True, name=name
        )

    def distinct_contents(self, files: Sequence[ArchiveFile]) -> Contents:
        """What the events of some files contain, each event once."""
        with translate_errors():
            return self._contents(_FIRST_HASHES, self._database.urls(files))

    def rewrite(self, file: ArchiveFile, selector: Selector, folder: Path) -> list[LocalFile]:
        """Write a file again, without the events that a selector finds; no file if nothing is left."""
        query = (
            f"SELECT {COLUMNS} FROM read_parquet({self._database.urls([file])}, hive_partitioning = false)"  # noqa: S608 - the selector is escaped
            f" WHERE ({condition_of(selector)}) IS NOT TRUE ORDER BY {PLACE}"
        )
        row_bytes = self._row_bytes([file])
        return self.write_query(query, file.source, file.day, folder, row_bytes=row_bytes, from_log=file.from_log)

    def matching(self, file: ArchiveFile, selector: Selector) -> list[Event]:
        """The events of a file that a selector finds."""
        query = f"SELECT {EVENT_COLUMNS} FROM read_parquet(?, hive_partitioning = false) WHERE {condition_of(selector)}"  # noqa: S608 - the same
        with translate_errors():
            rows = self._database.cursor().execute(query, [self._database.urls([file])]).fetchall()
        return [event_of(row) for row in rows]

    def matching_contents(self, file: ArchiveFile, selector: Selector) -> Contents:
        """What the events of a file that a selector finds contain."""
        with translate_errors():
            return self._contents(f"{_HASHES} WHERE {condition_of(selector)}", self._database.urls([file]))

    def scan(self, files: Sequence[ArchiveFile], selector: Selector) -> int:
        """The number of events in files that have the value as a whole word in any text, or that a selector finds."""
        if not files:
            return 0
        query = (
            f"SELECT count(*) FROM read_parquet(?, hive_partitioning = false)"  # noqa: S608 - the same
            f" WHERE regexp_matches({_TEXTS}, {literal(word_pattern(selector.value))}) OR {condition_of(selector)}"
        )
        with translate_errors():
            row = self._database.cursor().execute(query, [self._database.urls(files)]).fetchone()
        return row[0] if row else 0

    def contents(self, file: Path) -> Contents | None:
        """What a file on this machine contains; None if it is not a readable file of events."""
        try:
            return self._contents(_HASHES, [str(file)])
        except duckdb.Error:
            return None

    def rows(self, files: Sequence[ArchiveFile]) -> Iterator[tuple[object, ...]]:
        """The events of some files, as text in the order of COLUMNS."""
        cursor = self._database.cursor()
        with translate_errors():
            cursor.execute(
                f"SELECT {COLUMNS_AS_TEXT} FROM read_parquet(?, hive_partitioning = false)",  # noqa: S608 - a constant
                [self._database.urls(files)],
            )
            while rows := cursor.fetchmany(FETCH_ROWS):
                yield from rows

    def write_query(
        self,
        query: str,
        source: Source,
        day: date,
        folder: Path,
        *,
        row_bytes: float,
        from_log: bool = False,
        name: str | None = None,
    ) -> list[LocalFile]:
        """Write what a query of DuckDB gives, in the order of COLUMNS, as files of one source and day.

        Args:
            query: the query.
            source: the source of the events.
            day: the UTC day of their receipt.
            folder: an empty folder for the files.
            row_bytes: the mean size of the payload of an event, with its attributes.
            from_log: whether Postgres does not have the events.
            name: the beginning of the names of the files; None: of their SHA-256.
        """
        cursor = self._database.cursor()
        with translate_errors():
            cursor.execute(
                f"COPY ({query}) TO '{folder}' (FORMAT parquet, COMPRESSION zstd,"
                f" ROW_GROUP_SIZE {row_group_rows(row_bytes)},"
                f" STRING_DICTIONARY_PAGE_SIZE_LIMIT {DICTIONARY_BYTES}, DICTIONARY_SIZE_LIMIT {ROW_GROUP_ROWS},"
                f" FILE_SIZE_BYTES '{FILE_SIZE}', OVERWRITE)"
            )
            described = [
                local
                for location in sorted(folder.glob("*.parquet"))
                if (local := self._described(location, source, day, from_log=from_log))
            ]
        return [_named(local, f"{name}-{number}") for number, local in enumerate(described)] if name else described

    def _contents(self, hashes: str, urls: list[str]) -> Contents:
        """The contents of the events whose hashes a query gives."""
        row = self._database.cursor().execute(_CONTENTS.format(hashes=hashes), [urls]).fetchone()
        count, high, low = row or (0, 0, 0)
        return contents(count, int(high), int(low))

    def _row_bytes(self, files: Sequence[ArchiveFile]) -> float:
        """The mean size of the payloads in some files, with their attributes."""
        return self._number(
            f"SELECT avg(strlen(data) + strlen(attributes)) FROM read_parquet({self._database.urls(files)},"  # noqa: S608 - names of files of the archive
            f" hive_partitioning = false)"
        )

    def _number(self, query: str) -> float:
        """The number that a query gives; 0 without one."""
        with translate_errors():
            (number,) = self._database.cursor().execute(query).fetchone() or (None,)
        return float(number or 0)

    def _described(self, location: Path, source: Source, day: date, *, from_log: bool) -> LocalFile | None:
        """The file with its line in the manifest; None if it has no row."""
        cursor = self._database.cursor()
        stored = self.contents(location)
        if stored is None:
            raise Retryable(f"Archive: DuckDB can't read {location.name}, which it has just written.")
        if not stored.rows:
            return None
        fields = LOG_INDEXED_FIELDS if from_log else INDEXED_FIELDS
        extent = _EXTENT.format(counts=", ".join(f"count(DISTINCT {field})" for field in fields))
        first, last, *distinct = cursor.execute(extent, [str(location)]).fetchone() or ()
        with location.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        entry = ArchiveFile(
            path=f"source={source}/day={day}/{sha256[:NAME_DIGITS]}.parquet",
            source=source,
            day=day,
            contents=stored,
            bytes=location.stat().st_size,
            first_received_at=time_of(first),
            last_received_at=time_of(last),
            sha256=sha256,
            from_log=from_log,
        )
        index = [
            item
            for field, number in zip(fields, distinct, strict=True)
            for item in _index(cursor, location, field, number)
        ]
        return LocalFile(location=location, entry=entry, index=index)


def _named(file: LocalFile, name: str) -> LocalFile:
    """The file with another name in the archive."""
    entry = file.entry
    return replace(file, entry=replace(entry, path=f"source={entry.source}/day={entry.day}/{name}.parquet"))


def _line(event: Event) -> dict[str, str | int | None]:
    """An event as a line of a temporary file, with the texts that Postgres would have."""
    return {name: getattr(event, name) for name in _LINE_TYPES} | {
        "time": _microseconds(event.time),
        "received_at": _microseconds(event.received_at),
        "data": bytes(event.data).decode(),
        "attributes": _jsonb_text(event.attributes),
        "amount": None if event.amount is None else f"{event.amount:f}",
    }


def _jsonb_text(attributes: Mapping[str, str]) -> str:
    """An object as Postgres writes jsonb: shorter names first, by bytes among names of equal length."""
    names = sorted(attributes, key=lambda name: (len(name.encode()), name.encode()))
    return json.dumps({name: attributes[name] for name in names}, ensure_ascii=False)


def _microseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def condition_of(selector: Selector) -> str:
    """The SQL condition of a selector: on a column, or on a path of the payload."""
    if selector.is_column:
        return f"{selector.field} = {literal(selector.value)}"
    # A JSON Pointer (RFC 6901): as in Postgres, a number is an index of an array, or a name in an object.
    path = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in selector.field.split("."))
    return f"json_extract_string(data, {literal(path)}) = {literal(selector.value)}"


def word_pattern(value: str) -> str:
    """The regular expression (RE2) that finds a value as a whole word, as Postgres does in the text of a row."""
    return rf"(?:^|[^\p{{L}}\p{{N}}_-]|{ESCAPE}){spelled(value)}(?:[^\p{{L}}\p{{N}}_-]|$)"


def literal(text: str) -> str:
    """A text as an SQL literal of DuckDB, where a statement takes no parameter."""
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def event_of(row: tuple[Any, ...]) -> Event:
    """The event in a row of EVENT_COLUMNS, marked as archived."""
    values = list(row)
    values[5:7] = [time_of(values[5]), time_of(values[6])]
    return replace(event_from_row(tuple(values)), archived=True)


def time_of(microseconds: int) -> datetime:
    """The time this number of microseconds after 1970, UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


def _index(cursor: duckdb.DuckDBPyConnection, location: Path, field: IndexedField, number: int) -> list[IndexEntry]:
    """The entries of one field, of which the file has this number of values."""
    if not number:
        return []
    bits = next((bits for most, bits in BITS if number <= most), MOST_BITS)
    rows: list[tuple[str, str]] = cursor.execute(
        f"""
        SELECT left(hash, ?) AS bucket, string_agg(substr(hash, 9, 8), '')
        FROM (SELECT DISTINCT md5({field}) AS hash FROM read_parquet(?) WHERE {field} IS NOT NULL)
        GROUP BY bucket
        """,  # noqa: S608 - a constant
        [bits // 4, str(location)],
    ).fetchall()
    return [
        IndexEntry(field=field, bits=bits, bucket=int(bucket or "0", 16), hashes=bytes.fromhex(hashes))
        for bucket, hashes in rows
    ]


def _extension() -> Path:
    """The file of DuckDB's Postgres extension for this version of DuckDB.

    Raises:
        ConfigurationError: the package is missing or of another version.
    """
    package = importlib.util.find_spec("duckdb_extension_postgres_scanner")
    version = f"v{duckdb.__version__}"
    for folder in package.submodule_search_locations or [] if package else []:
        file = Path(folder) / "extensions" / version / "postgres_scanner.duckdb_extension"
        if file.is_file():
            return file
    raise ConfigurationError(f"The archive needs DuckDB's Postgres extension {version}: {INSTALL}")
