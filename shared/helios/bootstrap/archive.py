"""Builds the archive of a process, and what erases."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from helios.adapters.archive import INSTALL
from helios.adapters.archive.tiered import OpenedOnFirstRead, TieredReader, TieredReplayJobs
from helios.adapters.postgres.archive import PostgresManifest
from helios.adapters.postgres.connection import Pool, open_pool
from helios.adapters.postgres.erasure import PostgresErasure
from helios.adapters.postgres.flow_versions import PostgresFlowVersions
from helios.bootstrap.kafka import kafka_sink, log_erasure
from helios.bootstrap.rules import load_rules
from helios.bootstrap.services import Services
from helios.errors import ConfigurationError
from helios.ports.reader import Reader
from helios.ports.replay import ReplayJobs
from helios.reconciliation.evidence import EvidenceExtractor
from helios.services.archive import Archive
from helios.services.erasure import Eraser
from helios.settings import Settings
from helios.sources import declaration as source_declaration

if TYPE_CHECKING:
    from helios.adapters.archive.parquet import DuckDb, ParquetFormat
    from helios.adapters.archive.reader import ArchiveReader

ARCHIVE_THREADS = 4
"""How many files of the archive a query reads at once."""


class ReadingLimits(NamedTuple):
    """What reads of the archive may take where the platform ends a process that takes more.

    Attributes:
        megabytes: the memory of DuckDB. A read takes up to 130 MB besides, for what it has downloaded.
        seconds: the longest time for one read.
        request_seconds: the longest time for one request to the object store, and for its first repetition.
    """

    megabytes: int
    seconds: float
    request_seconds: float


class OpenArchive(NamedTuple):
    """The archive of a process.

    Attributes:
        archive: copies, checks and restores.
        reader: reads events from Postgres and the archive.
        jobs: replay jobs, which also send archived events.
        files: writes files, and erases from them.
        reading: the DuckDB that answers queries; it and ``writing`` are closed with ``close``.
    """

    archive: Archive
    reader: Reader
    jobs: ReplayJobs
    files: "ParquetFormat"
    reading: "DuckDb"
    writing: "DuckDb"

    def close(self) -> None:
        """Close what reads and writes files."""
        self.reading.close()
        self.writing.close()


def open_archive(services: Services) -> OpenArchive | None:
    """The archive of a process with these services; None when HELIOS_ARCHIVE_URL is not set.

    Raises:
        ConfigurationError: the URL is wrong, or the packages are not installed.
    """
    if not services.settings.archive_url or services.pool is None:
        return None
    return archive_on(services.settings, services.pool)


def with_archive(services: Services) -> tuple[Services, OpenArchive | None]:
    """The services with readers that also find archived events, and the archive that the caller closes.

    Raises:
        ConfigurationError: as ``open_archive``.
    """
    archive = open_archive(services)
    if archive is None:
        return services, None
    return msgspec.structs.replace(services, reader=archive.reader, jobs=archive.jobs), archive


def with_archive_on_first_read(
    services: Services, limits: ReadingLimits, *, credentials: Callable[[], Mapping[str, str]]
) -> Services:
    """The services with readers that also find archived events; the same ones when HELIOS_ARCHIVE_URL is not set.

    The first read of the archive imports its packages and opens it, for which a function would otherwise wait at each
    cold start. What is wrong with the URL or the packages is ``Retryable`` then.

    Args:
        services: those of a process with Postgres.
        limits: what a read may take.
        credentials: returns variables of the object store's client that are not in the environment.
    """
    url, pool = services.settings.archive_url, services.pool
    if not url or pool is None:
        return services

    def open_reader() -> "ArchiveReader":
        with _packages_required():
            from helios.adapters.archive.objects import open_store
            from helios.adapters.archive.parquet import DuckDb
            from helios.adapters.archive.reader import ArchiveReader

        store = open_store(url, credentials=credentials(), request_seconds=limits.request_seconds)
        # One thread: each one holds a part of a file in memory.
        database = DuckDb(store, database_url=services.settings.postgres_url, threads=1, megabytes=limits.megabytes)
        return ArchiveReader(database, seconds=limits.seconds)

    manifest = PostgresManifest(pool, services.settings.postgres_url)
    archived = OpenedOnFirstRead(open_reader)
    return msgspec.structs.replace(
        services,
        reader=TieredReader(pool, manifest, archived),
        jobs=TieredReplayJobs(pool, manifest, archived),
    )


@contextmanager
def _packages_required() -> Iterator[None]:
    """Say what to install when an import of the archive's packages fails.

    They are imported late: they are an optional dependency, and most processes do not use them.
    """
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(f"HELIOS_ARCHIVE_URL requires the packages of the archive: {INSTALL}") from error


def archive_on(settings: Settings, pool: Pool) -> OpenArchive:
    """The archive on a pool of connections. HELIOS_ARCHIVE_URL is set.

    Raises:
        ConfigurationError: as ``open_archive``.
    """
    with _packages_required():
        from helios.adapters.archive.objects import Objects, open_store
        from helios.adapters.archive.parquet import DuckDb, ParquetFormat
        from helios.adapters.archive.reader import ArchiveReader

    store = open_store(settings.archive_url or "")
    reading = DuckDb(store, database_url=settings.postgres_url, threads=ARCHIVE_THREADS)
    writing = DuckDb(store, database_url=settings.postgres_url, threads=1)
    manifest = PostgresManifest(pool, settings.postgres_url)
    archived, files = ArchiveReader(reading), ParquetFormat(writing)
    return OpenArchive(
        archive=Archive(manifest, Objects(store), files),
        reader=TieredReader(pool, manifest, archived),
        jobs=TieredReplayJobs(pool, manifest, archived),
        files=files,
        reading=reading,
        writing=writing,
    )


@contextmanager
def eraser(settings: Settings) -> Iterator[Eraser]:
    """What erases in the database, in the archive if HELIOS_ARCHIVE_URL is set, and in Kafka: a sink or a log.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    sources = source_declaration.load(settings.sources_file)
    with (
        open_pool(settings.postgres_url, connections=2, timeout_seconds=settings.database_timeout_seconds) as pool,
        ExitStack() as stack,
    ):
        rules = load_rules(settings, sources, PostgresFlowVersions(pool))
        rules.refresh()
        archive = archive_on(settings, pool) if settings.archive_url else None
        sink, log = kafka_sink(settings), log_erasure(settings)
        if archive:
            stack.callback(archive.close)
        if sink:
            stack.callback(sink.close)
        if log:
            stack.callback(log.close)
        yield Eraser(
            PostgresErasure(settings.postgres_url),
            EvidenceExtractor([evaluator.flow for evaluator in rules.reconciler.evaluators.values()], sources),
            PostgresManifest(pool, settings.postgres_url),
            archive=archive.archive if archive else None,
            files=archive.files if archive else None,
            tombstones=sink,
            log=log,
        )
