"""``python -m helios migrate``: the command line."""

import argparse
import sys

from helios.adapters.postgres.migrate import migrate
from helios.errors import HeliosError
from helios.settings import load


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="helios", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("migrate", help="bring the database of HELIOS_DATABASE_URL up to date")
    parser.parse_args(arguments)
    try:
        applied = migrate(load().database_url)
    except HeliosError as error:
        sys.stderr.write(f"helios: {error}\n")
        return 2
    sys.stdout.write(f"applied: {', '.join(applied) or 'nothing, the database is up to date'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
