"""``python -m helios``: the command line.

Operators have ``migrate``, ``sink``, ``tokens``, ``recompute`` and ``replays run``; all else asks the API.
"""

import argparse
import signal
import sys
import threading
from contextlib import suppress

from helios import bootstrap, logs
from helios.adapters.postgres.migrate import migrate
from helios.cli import dead_letters, recompute, tokens
from helios.cli import flows as console
from helios.cli import replay as replays
from helios.errors import HeliosError
from helios.services.sink import KAFKA, follow, send_parked


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="helios", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    bring_up_to_date = commands.add_parser("migrate", help="bring the database of HELIOS_DATABASE_URL up to date")
    bring_up_to_date.set_defaults(run=_migrate)
    pass_on = commands.add_parser("sink", help="pass on every stored event to Kafka, until SIGTERM or Ctrl-C")
    pass_on.add_argument("--parked", action="store_true", help="only send once more what Kafka has refused, and end")
    pass_on.set_defaults(run=_sink)
    tokens.register(commands)
    console.register(commands)
    dead_letters.register(commands)
    recompute.register(commands)
    replays.register(commands)
    given = parser.parse_args(arguments)
    try:
        with suppress(KeyboardInterrupt, BrokenPipeError):  # Ctrl-C ends a tail, and so does the end of `| head`
            given.run(given)
    except HeliosError as error:
        sys.stderr.write(f"helios: {error}\n")
        return 2
    return 0


def _migrate(_: argparse.Namespace) -> None:
    applied = migrate(bootstrap.configure().database_url)
    sys.stdout.write(f"applied: {', '.join(applied) or 'nothing, the database is up to date'}\n")


def _sink(given: argparse.Namespace) -> None:
    settings = bootstrap.configure(require=["kafka_brokers"])
    logs.configure(settings.log_level)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    services = bootstrap.build(settings)
    if services.sink is None:
        raise AssertionError("its brokers are set")
    try:
        if given.parked:
            sent, refused = send_parked(KAFKA, outbox=services.outbox, target=services.sink)
            sys.stdout.write(f"sent {sent} again; {refused} were refused again\n")
        else:
            follow(KAFKA, outbox=services.outbox, target=services.sink, listener=services.listener, stopping=stopping)
    finally:
        services.listener.close()
        services.close()


if __name__ == "__main__":
    sys.exit(main())
