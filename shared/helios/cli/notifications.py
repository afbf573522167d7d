"""``helios notifications``: sends a test, lists the last messages, and sends messages until it is stopped."""

import argparse
import signal
import threading
from datetime import UTC, datetime
from uuid import uuid4

from helios import bootstrap, logs, notifications
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.notifications import PostgresNotifications
from helios.cli import database
from helios.cli.flows import positive_int
from helios.cli.listing import format_options, write_for_programs
from helios.cli.terminal import note, write_line
from helios.cli.times import utc_text
from helios.errors import ConfigurationError, HeliosError, Rejected, Retryable, TargetUnavailable
from helios.model.notifications import Message, MessageState

PAUSE_SECONDS = 2.0


class NotSentError(HeliosError):
    """A test did not reach every receiver."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; each action sets ``run``, which takes the parsed arguments."""
    text = "test and watch the notifications about incidents"
    actions = commands.add_parser("notifications", help=text, description=text).add_subparsers(
        dest="action", required=True
    )
    text = "send a test to the receivers in the file of HELIOS_NOTIFICATIONS_FILE"
    test = actions.add_parser("test", help=text, description=text)
    test.add_argument("--receiver", action="append", metavar="NAME", help="only to this receiver; repeatable")
    test.set_defaults(run=_test)
    text = "list the last messages and what became of them, in the database of HELIOS_DATABASE_URL"
    listing = actions.add_parser("list", help=text, description=text)
    format_options(listing)
    listing.add_argument("--limit", type=positive_int, default=50, metavar="N", help="at most N lines (%(default)s)")
    listing.set_defaults(run=_list)
    text = (
        "send notifications until SIGTERM or Ctrl-C, where neither helios serve nor a function that sweeps has "
        "HELIOS_NOTIFICATIONS_FILE"
    )
    actions.add_parser("run", help=text, description=text).set_defaults(run=_run)


def _test(options: argparse.Namespace) -> None:
    settings = database.configure(require=["notifications_file"])
    declared = notifications.load(settings.notifications_file or "")
    targets = bootstrap.notification_targets(settings, declared)
    names = options.receiver or [receiver.name for receiver in declared.receiver]
    if unknown := [name for name in names if name not in targets]:
        raise ConfigurationError(f"--receiver {unknown[0]}: the file has {', '.join(targets) or 'no receiver'}")
    failed = []
    for name in names:
        try:
            targets[name].send(Message(receiver=name, id=f"test-{uuid4()}"))
            write_line(f"{name}: sent")
        except (TargetUnavailable, Rejected) as error:
            failed.append(name)
            write_line(f"{name}: {error}")
    if failed:
        raise NotSentError(f"The test did not reach {', '.join(failed)}.")


def _list(options: argparse.Namespace) -> None:
    settings = database.configure()
    with open_pool(settings.postgres_url, connections=1, timeout_seconds=settings.database_timeout_seconds) as pool:
        rows = PostgresNotifications(pool).messages(limit=options.limit)
    if write_for_programs(options, rows, MessageState.__struct_fields__):
        return
    for row in rows:
        next_attempt = f", next attempt {utc_text(row.due_at)}" if row.state == "waiting" else ""
        error = f": {row.error}" if row.error else ""
        write_line(
            f"{utc_text(row.created_at)}  {row.state:<7}  {row.receiver}  {row.id}  {row.attempts} attempts"
            f"{next_attempt}{error}"
        )


def _run(_: argparse.Namespace) -> None:
    settings = database.configure(require=["notifications_file"])
    logs.configure(settings.log_level)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    services = bootstrap.build(settings)
    if services.notifications is None:
        raise AssertionError("HELIOS_NOTIFICATIONS_FILE is set, so there are notifications")
    try:
        while not stopping.is_set():
            try:
                services.notifications.start(datetime.now(UTC))
            except Retryable as error:
                note(f"{error}; retrying")
            stopping.wait(PAUSE_SECONDS)
    finally:
        services.listener.close()
        services.close()
