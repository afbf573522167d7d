"""``python -m helios``: the command line. ``migrate`` works on the database; the others ask the API."""

import argparse
import sys
from contextlib import suppress

from helios.adapters.postgres.migrate import migrate
from helios.console import commands as console
from helios.errors import HeliosError
from helios.settings import load


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="helios", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    bring_up_to_date = commands.add_parser("migrate", help="bring the database of HELIOS_DATABASE_URL up to date")
    bring_up_to_date.set_defaults(run=_migrate)
    console.register(commands)
    given = parser.parse_args(arguments)
    try:
        with suppress(KeyboardInterrupt, BrokenPipeError):  # Ctrl-C ends a tail, and so does the end of `| head`
            given.run(given)
    except HeliosError as error:
        sys.stderr.write(f"helios: {error}\n")
        return 2
    return 0


def _migrate(_: argparse.Namespace) -> None:
    applied = migrate(load().database_url)
    sys.stdout.write(f"applied: {', '.join(applied) or 'nothing, the database is up to date'}\n")


if __name__ == "__main__":
    sys.exit(main())
