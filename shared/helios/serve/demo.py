"""``helios demo``: runs ``make local-demo`` in a clone of the repository."""

import argparse
import os
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

from helios.errors import ConfigurationError

_MARK = Path("local", "demo", "__main__.py")
"""A file that only a clone contains."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; it sets ``run``, which takes the parsed arguments."""
    text = "run the demo of a clone: emulated clouds, live traffic and Helios; the same as `make local-demo`"
    parser = commands.add_parser("demo", help=text, description=text)
    parser.add_argument("arguments", nargs="*", metavar="OPTION", help="options of the demo, after --: -- --rate 100")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Replace this process by the demo.

    Raises:
        ConfigurationError: there is no clone, or no make.
    """
    installed = Path(__file__).resolve().parents[3]
    clone = _clone((installed, Path.cwd(), *Path.cwd().parents))
    if clone is None:
        raise ConfigurationError(
            "The demo needs a clone of the repository, because the emulated clouds are not in the wheel. "
            "Clone it, and run `make local-demo` there. `helios serve` runs Helios without the clouds."
        )
    make = shutil.which("make")
    if make is None:
        raise ConfigurationError("The demo needs make. Install it with the packages of this system.")
    arguments = shlex.join(options.arguments)
    os.execv(make, [make, "-C", str(clone), "--no-print-directory", "local-demo", f"ARGS={arguments}"])  # noqa: S606 - no shell is needed


def _clone(folders: Iterable[Path]) -> Path | None:
    return next((folder for folder in folders if (folder / _MARK).is_file() and (folder / "Makefile").is_file()), None)
