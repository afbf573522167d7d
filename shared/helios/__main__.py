"""``helios``: the command line.

``serve`` runs all of Helios, and ``demo`` the demo of a clone. ``flows``, ``flow``, ``events``, ``tail``, ``preview``,
``flow-versions``, ``incidents``, ``balances``, ``dead-letters``, ``resolutions``, ``recoveries`` and ``replay`` use the
API. ``migrate``, ``sink``, ``projector``, ``tokens``, ``recompute``, ``notifications``, ``archive``, ``query``,
``erase`` and ``replay run`` use the database. ``log`` uses Kafka, ``flink`` starts the job on
Apache Flink, and ``cost`` uses none of them.
"""

import argparse
import signal
import sys
import threading
from contextlib import suppress
from importlib.metadata import version

from helios import bootstrap, logs
from helios.adapters.postgres.migrate import migrate
from helios.cli import (
    archive,
    balances,
    cost,
    database,
    dead_letters,
    erase,
    flink,
    flow_versions,
    flows,
    incidents,
    log,
    notifications,
    query,
    recompute,
    recoveries,
    replay,
    resolutions,
    terminal,
    tokens,
)
from helios.errors import HeliosError
from helios.processes.preflight import CannotStart
from helios.serve import command as serve
from helios.serve import demo
from helios.serve.command import ServeFailed
from helios.services.heartbeat import beat
from helios.services.leadership import PROJECTOR, Leadership
from helios.services.sink import KAFKA, follow, send_parked

DESCRIPTION = "Operate Helios. Each command prints its options with --help."


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        with suppress(KeyboardInterrupt, BrokenPipeError):  # Ctrl-C ends `tail`, and so does the end of `| head`
            options.run(options)
    except (CannotStart, ServeFailed) as error:
        terminal.note_lines(str(error))
        return 2
    except HeliosError as error:
        terminal.note(str(error))
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; the parsed options have ``run``, the function that takes them."""
    top = argparse.ArgumentParser(prog="helios", description=DESCRIPTION)
    top.add_argument("--version", action="version", version=f"%(prog)s {version('helios')}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    text = "apply the pending migrations to the database of HELIOS_DATABASE_URL"
    commands.add_parser("migrate", help=text, description=text).set_defaults(run=_migrate)
    text = "pass every stored event on to Kafka, until SIGTERM or Ctrl-C"
    sink = commands.add_parser("sink", help=text, description=text)
    sink.add_argument("--parked", action="store_true", help="only send the events again that Kafka refused, and exit")
    sink.set_defaults(run=_sink)
    text = "store in Postgres what the job of Flink has written to the log, until SIGTERM or Ctrl-C"
    commands.add_parser("projector", help=text, description=text).set_defaults(run=_projector)
    for module in (
        serve,
        demo,
        tokens,
        flows,
        flow_versions,
        incidents,
        balances,
        notifications,
        dead_letters,
        resolutions,
        recoveries,
        recompute,
        replay,
        archive,
        query,
        erase,
        log,
        flink,
        cost,
    ):
        module.register(commands)
    return top


def _migrate(_: argparse.Namespace) -> None:
    settings = database.configure()
    names = migrate(settings.postgres_url, partition_days=settings.partition_days)
    terminal.write_line(f"applied: {', '.join(names) or 'nothing, the database is up to date'}")


def _projector(_: argparse.Namespace) -> None:
    settings = database.configure(require=["log_brokers"])
    logs.configure(settings.log_level)
    stopping = _stopping()
    services = bootstrap.build_long_lived(settings)
    try:
        projector, open_reader, heartbeats, tracker, ends, publisher = bootstrap.projection(services)
        beating = threading.Thread(target=beat, args=(heartbeats, stopping), name="heartbeat")
        tracking = threading.Thread(target=tracker.follow, args=(stopping,), name="progress")
        publishing = threading.Thread(target=publisher.follow, args=(stopping,), name="rules")
        presence = Leadership(services.leases, PROJECTOR)
        beating.start()
        tracking.start()
        publishing.start()
        presence.start()
        try:
            projector.follow(open_reader, stopping)
        finally:
            stopping.set()
            presence.stop()
            beating.join()
            tracking.join()
            publishing.join()
            heartbeats.close()
            ends.close()
    finally:
        services.close()


def _stopping() -> threading.Event:
    """An event that SIGTERM and Ctrl-C set."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


def _sink(options: argparse.Namespace) -> None:
    settings = database.configure(require=["kafka_brokers"])
    logs.configure(settings.log_level)
    stopping = _stopping()
    services = bootstrap.build(settings)
    if services.sink is None:
        raise AssertionError("HELIOS_KAFKA_BROKERS is set, so there is a sink")
    try:
        if options.parked:
            sent, refused = send_parked(KAFKA, outbox=services.outbox, target=services.sink)
            terminal.write_line(f"{sent} sent; {refused} refused again")
        else:
            follow(KAFKA, outbox=services.outbox, target=services.sink, listener=services.listener, stopping=stopping)
    finally:
        services.listener.close()
        services.close()


if __name__ == "__main__":
    sys.exit(main())
