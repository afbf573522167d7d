"""``python -m helios.flink run|submit``: the command in an environment that has only what the job needs."""

import argparse
import sys

from helios.errors import HeliosError
from helios.flink.command import add_commands, execute


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; ``execute`` takes the parsed options."""
    top = argparse.ArgumentParser(
        prog="python -m helios.flink", description="Judge the log of deliveries with Apache Flink."
    )
    add_commands(top)
    return top


def main() -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args()
    try:
        execute(options)
    except HeliosError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
