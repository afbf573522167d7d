"""``helios``: the command line.

``flows``, ``flow``, ``events``, ``tail``, ``preview``, ``dead-letters`` and ``replay`` use the API. ``migrate``,
``sink``, ``tokens``, ``recompute`` and ``replay run`` use the database.
"""

import argparse
import signal
import sys
import threading
from contextlib import suppress
from importlib.metadata import version

from helios import bootstrap, logs
from helios.adapters.postgres.migrate import migrate
from helios.cli import dead_letters, flows, recompute, replay, terminal, tokens
from helios.errors import HeliosError
from helios.services.sink import KAFKA, follow, send_parked

DESCRIPTION = "Operate Helios. Each command prints its options with --help."


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        with suppress(KeyboardInterrupt, BrokenPipeError):  # Ctrl-C ends `tail`, and so does the end of `| head`
            options.run(options)
    except HeliosError as error:
        terminal.note(str(error))
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; the parsed options have ``run``, the function that takes them."""
    top = argparse.ArgumentParser(prog="helios", description=DESCRIPTION)
    top.add_argument("--version", action="version", version=f"%(prog)s {version('helios')}")
    commands = top.add_subparsers(dest="command", required=True)
    text = "apply the pending migrations to the database of HELIOS_DATABASE_URL"
    commands.add_parser("migrate", help=text, description=text).set_defaults(run=_migrate)
    text = "pass every stored event on to Kafka, until SIGTERM or Ctrl-C"
    sink = commands.add_parser("sink", help=text, description=text)
    sink.add_argument("--parked", action="store_true", help="only send the events again that Kafka refused, and exit")
    sink.set_defaults(run=_sink)
    for module in (tokens, flows, dead_letters, recompute, replay):
        module.register(commands)
    return top


def _migrate(_: argparse.Namespace) -> None:
    names = migrate(bootstrap.configure().database_url)
    terminal.write_line(f"applied: {', '.join(names) or 'nothing, the database is up to date'}")


def _sink(options: argparse.Namespace) -> None:
    settings = bootstrap.configure(require=["kafka_brokers"])
    logs.configure(settings.log_level)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
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
