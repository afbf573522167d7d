"""Reads events from Postgres, and from the archive those that Postgres no longer has.

This module needs none of the packages of the archive: a process can import them when it reads the archive first.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import wraps
from itertools import groupby
from threading import Lock
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

from helios.adapters.postgres.archive import PostgresManifest
from helios.adapters.postgres.connection import Pool
from helios.adapters.postgres.events import PLACE, place_of
from helios.adapters.postgres.parameters import keys_as_json
from helios.adapters.postgres.query import like
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.replay import PostgresReplayJobs
from helios.errors import ConfigurationError, Retryable
from helios.model.access import EventLimits
from helios.model.archive import ArchiveFile, FileFilter
from helios.model.events import Event, EventFilter, Key
from helios.model.paging import Page, decode_cursor, encode_cursor
from helios.model.replay import MAX_EXAMPLES, Checkpoint, Matching, ReplayFilter, What
from helios.model.sources import Source
from helios.ports.archive import Manifest

SEARCH_SECONDS = 5.0
"""How long the search for one page goes back in the archive. The page then ends, and its cursor continues there."""

SPREAD = timedelta(minutes=1)
"""How much later than the first delivery of an event the stored one may have been received, if several processes ingest
the event at the same time."""

ATTEMPTS = 3
"""How often a read begins while files or partitions change."""

P = ParamSpec("P")
T = TypeVar("T")

Place = tuple[datetime, str, str, str]
"""The place of an event in order: received_at, source, id, producer."""

SELECT_RECEIVED_AT = """
SELECT input.source, input.producer, input.id, event_ids.received_at
FROM json_to_recordset(%s::json) AS input (source text, producer text, id text)
JOIN event_ids ON event_ids.key = event_key(input.source, input.producer, input.id)
"""


class Condition(NamedTuple):
    """An SQL condition of DuckDB, and its parameters."""

    sql: str
    values: list[Any]


class ArchivedEvents(Protocol):
    """Reads events from files of the archive. Every method raises Retryable when the archive can't be read."""

    def events(
        self, files: Sequence[ArchiveFile], conditions: Sequence[Condition], *, newest_first: bool, limit: int
    ) -> list[Event]:
        """At most ``limit`` events of some files, in order."""

    def count(
        self, files: Sequence[ArchiveFile], conditions: Sequence[Condition]
    ) -> tuple[int, datetime | None, datetime | None]:
        """The number of events, and the first and last time of receipt."""


class FileReplaced(Retryable):
    """A file of the archive was replaced while it was read: by an erasure, or by a larger file."""


def read_consistently(manifest: Manifest, read: Callable[[], T]) -> T:
    """What a read of Postgres and of the archive gives, with each event once.

    It begins again if a file was replaced meanwhile, since the manifest then names another, or if a partition was
    dropped, restored or attached: its events may have been read twice, or not at all.

    Raises:
        Retryable: one of the tiers can't be read, or they go on changing.
    """
    for attempt in range(1, ATTEMPTS + 1):
        before = manifest.partitions()
        try:
            answer = read()
        except FileReplaced:
            if attempt == ATTEMPTS:
                raise
            continue
        if manifest.partitions() == before:
            return answer
    raise Retryable("Archive: the partitions of Postgres changed during each of several reads. Repeat the read.")


class _ReadsBothTiers(Protocol):
    _manifest: PostgresManifest


Self_ = TypeVar("Self_", bound=_ReadsBothTiers)


def consistent(read: Callable[Concatenate[Self_, P], T]) -> Callable[Concatenate[Self_, P], T]:
    """The same method, which reads as ``read_consistently``."""

    @wraps(read)
    def reading(self: Self_, /, *arguments: P.args, **options: P.kwargs) -> T:
        return read_consistently(self._manifest, lambda: read(self, *arguments, **options))

    return reading


class OpenedOnFirstRead:
    """Implements ``ArchivedEvents``: opens the archive with the first read. It is safe to use from several threads."""

    def __init__(self, open_reader: Callable[[], ArchivedEvents]) -> None:
        """Take what opens the archive; after an error, the next read calls it again."""
        self._open_reader = open_reader
        self._opened: ArchivedEvents | None = None
        self._lock = Lock()

    def events(
        self, files: Sequence[ArchiveFile], conditions: Sequence[Condition], *, newest_first: bool, limit: int
    ) -> list[Event]:
        """At most ``limit`` events of some files, in order."""
        return self._reader().events(files, conditions, newest_first=newest_first, limit=limit)

    def count(
        self, files: Sequence[ArchiveFile], conditions: Sequence[Condition]
    ) -> tuple[int, datetime | None, datetime | None]:
        """The number of events, and the first and last time of receipt."""
        return self._reader().count(files, conditions)

    def _reader(self) -> ArchivedEvents:
        with self._lock:
            if self._opened is None:
                try:
                    self._opened = self._open_reader()
                except ConfigurationError as error:  # too late to refuse to start
                    raise Retryable(f"Archive: {error}") from error
            return self._opened


class TieredReader(PostgresReader):
    """Implements ``Reader``: Postgres, and the archive for the events that Postgres no longer has."""

    def __init__(self, pool: Pool, manifest: PostgresManifest, archive: ArchivedEvents) -> None:
        super().__init__(pool)
        self._manifest = manifest
        self._archive = archive

    @consistent
    def events(self, where: EventFilter, *, after: str | None, limit: int) -> Page[Event]:
        """A page of events, the newest ``received_at`` first."""
        page = super().events(where, after=after, limit=limit)
        position = decode_cursor(after, tuple[datetime, str, str, str]) if after else None
        files = self._manifest.files(
            _file_filter(
                where,
                since=page.items[-1].received_at if page.next_cursor else None,
                until=_end(position) if position else None,
            )
        )
        if not files:
            return page
        conditions = _conditions(where, after=position, newest_first=True)
        found, reached = self._search(files[::-1], conditions, limit=limit + 1, by_value=where.order_id is not None)
        events = sorted([*page.items, *found], key=place_of, reverse=True)
        if reached:  # a file that was not read may have events between the earlier ones
            events = [event for event in events if event.received_at >= reached[0]]
        if len(events) > limit or (page.next_cursor and len(events) == limit):
            return Page(items=events[:limit], next_cursor=encode_cursor(place_of(events[limit - 1])))
        return Page(items=events, next_cursor=encode_cursor(reached) if reached else None)

    def event(self, key: Key) -> Event | None:
        """The event with this identity, or None."""
        found = self.find([key])
        return found[0] if found else None

    def find(self, keys: Collection[Key], *, received_at: Mapping[Key, datetime] | None = None) -> list[Event]:
        """The events with these identities that are stored or archived."""
        events = super().find(keys, received_at=received_at)
        missing = set(keys) - {event.key for event in events}
        return events + self._find_in_both(missing, received_at) if missing else events

    @consistent
    def _find_in_both(self, keys: Collection[Key], received_at: Mapping[Key, datetime] | None) -> list[Event]:
        """The same, also of events that a restore has brought to Postgres meanwhile."""
        events = super().find(keys, received_at=received_at)
        missing = set(keys) - {event.key for event in events}
        if not missing:
            return events
        events += self._find_in_log_files(missing)
        missing -= {event.key for event in events}
        rows = self._all(SELECT_RECEIVED_AT, [keys_as_json(sorted(missing))]) if missing else []
        spans = {key: (at, at + SPREAD) for key, at in (received_at or {}).items() if key in missing}
        spans |= {(source, producer, id_): (at, at) for source, producer, id_, at in rows}

        def source_and_day(key: Key) -> tuple[Source, date]:
            return key[0], spans[key][0].astimezone(UTC).date()

        for (source, _), group in groupby(sorted(spans, key=source_and_day), source_and_day):
            same_day = list(group)
            first, last = min(spans[key][0] for key in same_day), max(spans[key][1] for key in same_day)
            files = self._manifest.files(
                FileFilter(source=source, since=first, until=last + timedelta(microseconds=1), only_archived=True)
            )
            if files:
                identities = Condition(
                    "received_at >= ?::TIMESTAMPTZ AND received_at <= ?::TIMESTAMPTZ"
                    f" AND (source, producer, id) IN ({', '.join('(?, ?, ?)' for _ in same_day)})",
                    [first.isoformat(), last.isoformat(), *(part for key in same_day for part in key)],
                )
                events += self._archive.events(files, [identities], newest_first=False, limit=len(same_day))
        return events

    def _find_in_log_files(self, keys: Collection[Key]) -> list[Event]:
        """The events with these identities that were archived from the log: the index has their ids."""
        events: list[Event] = []
        for source, producer, id_ in sorted(keys):
            if files := self._manifest.files(FileFilter(source=source, field="id", value=id_, from_log=True)):
                identity = Condition("(source, producer, id) = (?, ?, ?)", [source, producer, id_])
                events += self._archive.events(files, [identity], newest_first=False, limit=1)
        return events

    def _search(
        self, files: Sequence[ArchiveFile], conditions: Sequence[Condition], *, limit: int, by_value: bool
    ) -> tuple[list[Event], Place | None]:
        """The newest events of some files, and where the search ended if it took too long.

        Args:
            files: the newest day first.
            conditions: what an event fulfils.
            limit: the most events.
            by_value: the index has chosen the files: they are read at once.
        """
        events: list[Event] = []
        started = time.monotonic()
        for part in [list(files)] if by_value else _by_days(files):
            events += self._archive.events(part, conditions, newest_first=True, limit=limit - len(events))
            if len(events) >= limit:
                break
            if time.monotonic() - started > SEARCH_SECONDS and part[-1] is not files[-1]:
                return events, (min(file.first_received_at for file in part), "", "", "")
        return events, None


class TieredReplayJobs(PostgresReplayJobs):
    """Implements ``ReplayJobs``: a job also sends the events that only the archive has."""

    def __init__(self, pool: Pool, manifest: PostgresManifest, archive: ArchivedEvents) -> None:
        super().__init__(pool)
        self._manifest = manifest
        self._archive = archive

    @consistent
    def matching(self, what: What, where: ReplayFilter) -> Matching:
        """The number, period and examples of what a job would send now."""
        hot = super().matching(what, where)
        files = self._manifest.files(_file_filter(where.events())) if what == "events" else []
        if not files:
            return hot
        conditions = _conditions(where.events())
        number, first, last = self._archive.count(files, conditions)
        if not number or first is None or last is None:
            return hot
        return Matching(
            matching=hot.matching + number,
            oldest=min(filter(None, [hot.oldest, first])),
            newest=max(filter(None, [hot.newest, last])),
            examples=[f"{event.source}/{event.id}" for event in self.events(where, after=None, limit=MAX_EXAMPLES)],
        )

    @consistent
    def events(self, where: ReplayFilter, *, after: Checkpoint | None, limit: int) -> list[Event]:
        """The next events of a job after its checkpoint, the first received first."""
        hot = super().events(where, after=after, limit=limit)
        until = hot[-1].received_at if len(hot) == limit else None
        files = self._manifest.files(
            _file_filter(where.events(), since=after.received_at if after else None, until=until)
        )
        place = (after.received_at, after.source, after.id, after.producer) if after else None
        conditions = _conditions(where.events(), after=place)
        archived: list[Event] = []
        for part in _by_days(files):
            archived += self._archive.events(part, conditions, newest_first=False, limit=limit - len(archived))
            if len(archived) >= limit:
                break
        return sorted([*hot, *archived], key=place_of)[:limit]


def _end(place: Place) -> datetime:
    """The time before which all events before a place were received: of a place without an event, its time."""
    moment, source, *_ = place
    return moment + timedelta(microseconds=1) if source else moment


def _by_days(files: Sequence[ArchiveFile]) -> Iterator[list[ArchiveFile]]:
    """The files in parts of 1, 2, 4 ... days: the next events are probably near, and few reads go far."""
    days = [list(group) for _, group in groupby(files, lambda file: file.day)]
    start, size = 0, 1
    while start < len(days):
        yield [file for day in days[start : start + size] for file in day]
        start, size = start + size, 2 * size


def _file_filter(where: EventFilter, *, since: datetime | None = None, until: datetime | None = None) -> FileFilter:
    """The files that may have matching events which Postgres does not have."""
    return FileFilter(
        source=where.source,
        since=max(filter(None, [where.since, since]), default=None),
        until=min(filter(None, [where.until, until]), default=None),
        field="order_id" if where.order_id is not None else None,
        value=where.order_id,
        only_archived=True,
    )


def _conditions(where: EventFilter, *, after: Place | None = None, newest_first: bool = False) -> list[Condition]:
    """The conditions of a filter, and of a place to continue at."""
    conditions = [
        Condition(sql, [value])
        for sql, value in (
            ("source = ?", where.source),
            ("type = ?", where.type),
            ("order_id = ?", where.order_id),
            ("received_at >= ?::TIMESTAMPTZ", where.since.isoformat() if where.since else None),
            ("received_at < ?::TIMESTAMPTZ", where.until.isoformat() if where.until else None),
        )
        if value is not None
    ]
    for name, value in (where.attributes or {}).items():
        conditions.append(Condition("json_extract_string(attributes, ?) = ?", [_pointer(name), value]))
    conditions += _limit_conditions(where.limits)
    if after:
        comparison, inclusive = ("<", "<=") if newest_first else (">", ">=")
        place = [after[0].isoformat(), *after[1:]]
        # The first condition lets DuckDB skip row groups.
        conditions.append(Condition(f"received_at {inclusive} ?::TIMESTAMPTZ", place[:1]))
        conditions.append(Condition(f"({PLACE}) {comparison} (?::TIMESTAMPTZ, ?, ?, ?)", place))
    return conditions


def _pointer(name: str) -> str:
    """The JSON Pointer to a member of the outermost object (RFC 6901, "Syntax")."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _limit_conditions(limits: EventLimits) -> list[Condition]:
    """What the caller may see, as conditions of DuckDB; see ``limit_conditions`` of Postgres."""
    conditions = []
    if limits.sources is not None:
        conditions.append(_any_of([("source = ?", [source]) for source in limits.sources]))
    if limits.types is not None:
        conditions.append(_any_of([(r"type LIKE ? ESCAPE '\'", [like(pattern)]) for pattern in limits.types]))
    if limits.legs is not None:
        conditions.append(
            _any_of([("type = ? AND source = coalesce(?, source)", [type_, source]) for source, type_ in limits.legs])
        )
    return conditions


def _any_of(alternatives: Sequence[tuple[str, list[str | None]]]) -> Condition:
    sql = " OR ".join(f"({sql})" for sql, _ in alternatives)
    return Condition(f"({sql or 'false'})", [value for _, values in alternatives for value in values])
