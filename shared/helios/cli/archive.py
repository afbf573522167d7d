"""``helios archive``: copies events to the archive, lists and checks its files, and brings events back."""

import argparse
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta

from helios import bootstrap, logs
from helios.adapters.postgres.connection import Pool, open_pool
from helios.bootstrap import OpenArchive
from helios.cli import database
from helios.cli.flows import positive_int, source_name
from helios.cli.listing import format_options, write_for_programs
from helios.cli.terminal import note, write_line
from helios.cli.times import utc_text
from helios.errors import HeliosError
from helios.model.archive import ArchiveFile, FileFilter
from helios.ports.leases import PATIENCE_SECONDS
from helios.services.log_archive import LogArchive
from helios.settings import Settings


class ArchiveDamagedError(HeliosError):
    """A file of the archive is not as it was written."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; it sets ``run``, which takes the parsed arguments."""
    text = "copy events to HELIOS_ARCHIVE_URL, list and check its files, and bring events back to the database"
    actions = commands.add_parser("archive", help=text, description=text).add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="copy the events of every day that is over, and drop what has expired")
    run.add_argument(
        "--recheck", action="store_true", help="compare the days that were copied again, and add what they lack"
    )
    run.add_argument(
        "--from-log",
        action="store_true",
        help="copy the events of the log instead, until SIGTERM or Ctrl-C (HELIOS_EVENT_STORE=archive)",
    )
    run.add_argument(
        "--seconds",
        type=positive_int,
        default=60,
        metavar="N",
        help="with --from-log: how long an event waits for others of its file (%(default)s)",
    )
    run.set_defaults(run=_run)
    listing = actions.add_parser("list", help="list the files")
    add_period(listing)
    format_options(listing)
    listing.set_defaults(run=_list)
    verify = actions.add_parser("verify", help="read the files in full, and compare them with the manifest")
    add_period(verify)
    verify.set_defaults(run=_verify)
    restore = actions.add_parser("restore", help="bring the events of some days back, as a partition of their own")
    restore.add_argument("--since", type=day, required=True, metavar="DAY", help="the first day, such as 2026-01-31")
    restore.add_argument("--until", type=day, metavar="DAY", help="the last day; by default the first one")
    restore.set_defaults(run=_restore)


def day(text: str) -> date:
    """The UTC day in an ISO 8601 text: the ``type`` of an option.

    Raises:
        argparse.ArgumentTypeError: the text is not a day.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2026-01-31") from error


@contextmanager
def opened() -> Iterator[OpenArchive]:
    """The archive of HELIOS_ARCHIVE_URL.

    Raises:
        ConfigurationError: a setting is missing or wrong.
    """
    with _opened_on(database.configure(require=["archive_url"])) as (_, archive):
        yield archive


@contextmanager
def _opened_on(settings: Settings) -> Iterator[tuple[Pool, OpenArchive]]:
    """The archive of these settings, and the connections that it uses."""
    seconds = settings.database_timeout_seconds
    with open_pool(settings.postgres_url, connections=2, timeout_seconds=seconds) as pool:
        archive = bootstrap.archive_on(settings, pool)
        try:
            yield pool, archive
        finally:
            archive.close()


def add_period(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose files by source and day."""
    parser.add_argument("--source", type=source_name, metavar="NAME", help="only events of this source")
    parser.add_argument("--since", type=day, metavar="DAY", help="only this UTC day and later ones, such as 2026-01-31")
    parser.add_argument("--until", type=day, metavar="DAY", help="only this UTC day and earlier ones")


def period(options: argparse.Namespace) -> FileFilter:
    """The filter of these options."""
    return FileFilter(
        source=options.source,
        since=datetime.combine(options.since, time(), UTC) if options.since else None,
        until=datetime.combine(options.until + timedelta(days=1), time(), UTC) if options.until else None,
    )


def _run(options: argparse.Namespace) -> None:
    if options.from_log:
        _follow_log(options.seconds)
        return
    settings, now = database.configure(require=["archive_url"]), datetime.now(UTC)
    with _opened_on(settings) as (pool, archive):
        retention = bootstrap.retention_job(settings, pool)
        result = archive.archive.run(now, recheck=options.recheck, patience_seconds=PATIENCE_SECONDS)
        dropped = [] if result.busy or retention is None else retention.drop_expired(now)
    if result.busy:
        write_line("Another process changes the archive now: nothing to do.")
        return
    write_line(f"{result.days:,} days compared; {result.rows:,} events written to {result.files:,} files")
    if result.removed:
        write_line(f"{result.removed:,} files removed that an interrupted run or an erasure had left")
    if dropped:
        write_line(f"{len(dropped):,} partitions dropped that HELIOS_RETENTION no longer stores: {', '.join(dropped)}")


def _follow_log(seconds: int) -> None:
    settings = database.configure(require=["archive_url", "log_brokers"])
    logs.configure(settings.log_level)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with _opened_on(settings) as (pool, archive):
        open_reader = bootstrap.archive_reader(settings, pool)
        LogArchive(archive.archive, archive.files, seconds=seconds).follow(open_reader, stopping)


def _list(options: argparse.Namespace) -> None:
    with opened() as archive:
        files = archive.archive.manifest.files(period(options))
    if write_for_programs(options, files, ArchiveFile.__struct_fields__):
        return
    for file in files:
        write_line(f"{file.day} {file.source:<6} {file.contents.rows:>12,} events {file.bytes:>14,} bytes  {file.path}")
    events, size = sum(file.contents.rows for file in files), sum(file.bytes for file in files)
    write_line(f"{len(files):,} files, {events:,} events, {size:,} bytes")


def _verify(options: argparse.Namespace) -> None:
    number = damaged = 0
    with opened() as archive:
        for _, finding in archive.archive.verify(period(options)):
            number += 1
            if finding:
                damaged += 1
                write_line(f"{finding.subject} {finding.reason}")
        for path in archive.archive.unlisted():
            note(f"{path} is not in the manifest: no reader uses it")
    if damaged:
        raise ArchiveDamagedError(f"{damaged} of {number} files are damaged. Restore them from a copy of the archive.")
    write_line(f"{number:,} files read, each as it was written")


def _restore(options: argparse.Namespace) -> None:
    with opened() as archive:
        name, rows = archive.archive.restore(options.since, options.until or options.since)
    write_line(f"{rows:,} events restored to the partition {name} at {utc_text(datetime.now(UTC))}")
