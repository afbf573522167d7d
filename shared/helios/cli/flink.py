"""``helios flink``: starts the job on Apache Flink in its own Python environment.

PyFlink requires old versions of packages that this environment has too, so that both cannot be in one.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

import helios
from helios.flink.command import add_commands, arguments_of
from helios.processes import java
from helios.processes.preflight import require
from helios.processes.process import scrubbed_environment

OLDEST_JAVA = 17
"""Flink 2 runs on Java 17 (Apache Flink, "Java compatibility")."""

OLDEST_PYTHON = (3, 11)
NEWEST_PYTHON = (3, 12)
"""There are wheels of PyFlink 2.3 for these; Helios needs at least 3.11."""

DEFAULT_FOLDER = Path("flink")
"""Where docs/flink.md creates the environment."""

_PACKAGES = Path(helios.__file__).resolve().parents[1]
_TOOLS = _PACKAGES.parent / ".venv" / "tools"
"""Where ``make flink`` installs the environment and the connector, if Helios runs from a clone."""

_DESCRIBE = """\
import json, sys, sysconfig
from importlib.util import find_spec
has = {name: find_spec(name) is not None for name in ("pyflink", "msgspec", "helios")}
print(json.dumps({"version": sys.version_info[:2], "packages": sysconfig.get_path("purelib"), "has": has}))
"""


class Environment(msgspec.Struct, frozen=True):
    """What an interpreter says about its environment.

    Attributes:
        version: its version of Python.
        packages: the folder of its packages.
        has: whether it has these packages.
    """

    version: tuple[int, int]
    packages: str
    has: dict[str, bool]


class Start(NamedTuple):
    """A command that replaces this process.

    Attributes:
        arguments: the program and its arguments.
        variables: its environment variables.
    """

    arguments: list[str]
    variables: dict[str, str]


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; it sets ``run``, which takes the parsed arguments."""
    text = "judge the log of deliveries with Apache Flink (HELIOS_LOG_BROKERS, HELIOS_LOG_PREFIX)"
    for command in add_commands(commands.add_parser("flink", help=text, description=text)):
        command.add_argument(
            "--environment",
            type=Path,
            metavar="FOLDER",
            help="Python environment of the job, installed from flink.lock (default: that of `make flink`, or ./flink)",
        )
        command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    start = prepare(options)
    sys.stdout.flush()
    os.execve(start.arguments[0], start.arguments, start.variables)  # noqa: S606 - no shell is needed


def prepare(options: argparse.Namespace) -> Start:
    """The command that starts the job in its environment.

    Raises:
        CannotStart: Java, the environment or a package in it is missing; the message has a line for each.
    """
    folder = options.environment or _default_folder()
    python = (folder / "bin" / "python").absolute()
    environment = _describe(python)
    require([java.missing("Apache Flink", oldest=OLDEST_JAVA), *_problems(folder, environment)])
    assert environment  # noqa: S101 - nothing is missing; for mypy
    if not options.jar and folder == _TOOLS / "flink":
        options.jar = _jars()
    # A TaskManager embeds an interpreter, which does not know that it belongs to an environment.
    path = os.pathsep.join([environment.packages, *filter(None, [_own_packages(), os.environ.get("PYTHONPATH")])])
    return Start([str(python), "-m", "helios.flink", *arguments_of(options)], {**os.environ, "PYTHONPATH": path})


def _default_folder() -> Path:
    return _TOOLS / "flink" if (_TOOLS / "flink").is_dir() else DEFAULT_FOLDER


def _own_packages() -> str | None:
    """The folder of Helios, unless packages that clash with those of PyFlink are beside it."""
    return None if _PACKAGES.name.endswith("-packages") else str(_PACKAGES)


def _jars() -> list[str]:
    """The connector that ``make flink`` has downloaded last; none if it has not."""
    folders = sorted(_TOOLS.glob("apache-flink-*/"), key=lambda folder: folder.stat().st_mtime_ns)
    return [str(jar) for folder in folders[-1:] for jar in sorted(folder.glob("*.jar"))]


def _describe(python: Path) -> Environment | None:
    """What an interpreter says; None if it does not run."""
    variables = scrubbed_environment(PYTHONPATH=_own_packages() or "")
    try:
        answer = subprocess.run(
            [python, "-c", _DESCRIBE], env=variables, cwd="/", capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return msgspec.json.decode(answer.stdout, type=Environment)


def _problems(folder: Path, environment: Environment | None) -> Iterator[str]:
    if environment is None:
        yield (
            f"The job on Flink needs a Python environment of its own, and {folder} has none. "
            "`make flink` in a clone creates it, and docs/flink.md shows the commands."
        )
    elif not OLDEST_PYTHON <= environment.version <= NEWEST_PYTHON:
        oldest, newest, version = (
            ".".join(map(str, each)) for each in (OLDEST_PYTHON, NEWEST_PYTHON, environment.version)
        )
        yield f"Apache Flink's Python API needs Python {oldest} or {newest}, and {folder} has {version}."
    elif lacking := [name for name in ("pyflink", "msgspec") if not environment.has[name]]:
        yield (
            f"{folder} lacks {' and '.join(lacking)}. Install them: "
            f"{folder}/bin/pip install --no-deps --require-hashes --requirement flink.lock"
        )
    elif not environment.has["helios"]:
        yield f"{folder} lacks Helios. Install it: {folder}/bin/pip install --no-deps helios-*.whl"
