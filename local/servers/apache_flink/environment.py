"""Installs Apache Flink: its Python environment from ``flink.lock``, and its connector to Kafka from Maven Central.

``python -m local.servers.apache_flink.environment`` installs both. With ``--lock`` it writes the checksums of what
Maven resolves, after a change of ``pom.xml``.
"""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from helios.cli.flink import NEWEST_PYTHON, OLDEST_JAVA, OLDEST_PYTHON
from helios.processes.process import ServiceFailed
from local.servers.maven import Jars, main
from scripts.build import tools

LOCK: Final = tools.ROOT / "flink.lock"
JARS: Final = Jars("Apache Flink's connector", Path(__file__).parent, oldest_java=OLDEST_JAVA)

_VERSION: Final = re.compile(r"(\d+)\.(\d+)")


class Environment(NamedTuple):
    """An installed environment.

    Attributes:
        python: the interpreter with PyFlink.
        flink: the folder of Flink: ``lib`` and ``opt`` have its jars.
        jars: the connector's jars.
        paths: where Python finds packages, Helios in this clone included. A TaskManager embeds an interpreter, which
            does not know that it belongs to an environment.
    """

    python: Path
    flink: Path
    jars: list[Path]
    paths: tuple[Path, ...]

    @property
    def python_path(self) -> str:
        """The paths as PYTHONPATH."""
        return os.pathsep.join(map(str, self.paths))


@cache
def missing() -> str | None:
    """What this machine lacks to install and run Apache Flink, as a sentence; None if it lacks nothing."""
    if reason := JARS.missing():
        return reason
    if python() is None:
        oldest, newest = (".".join(map(str, version)) for version in (OLDEST_PYTHON, NEWEST_PYTHON))
        return f"Apache Flink's Python API needs Python {oldest} or {newest}: neither is on PATH."
    return None


def python() -> str | None:
    """An interpreter for which there are wheels of PyFlink: this one, or one on PATH."""
    names = [f"python{major}.{minor}" for major, minor in (NEWEST_PYTHON, OLDEST_PYTHON)]
    candidates = [sys.executable, *(path for name in names if (path := shutil.which(name)))]
    return next((path for path in candidates if OLDEST_PYTHON <= _version_of(path) <= NEWEST_PYTHON), None)


def _version_of(interpreter: str) -> tuple[int, int]:
    """The version of an interpreter; (0, 0) for a command that does not run, such as a shim without a version."""
    answer = subprocess.run([interpreter, "-V"], capture_output=True, text=True, check=False)
    version = _VERSION.search(answer.stdout) if answer.returncode == 0 else None
    return (int(version[1]), int(version[2])) if version else (0, 0)


def install() -> Environment:
    """Install what is missing or out of date (750 MB), and return the environment.

    Raises:
        ServiceFailed: Java, Maven or a suitable Python is missing, or an installation failed.
    """
    if reason := missing():
        raise ServiceFailed(reason)
    interpreter = python()
    assert interpreter  # noqa: S101 - nothing is missing; for mypy
    jars = sorted(JARS.install().glob("*.jar"))
    try:
        programs = tools.install(LOCK, python=interpreter)
    except subprocess.CalledProcessError as error:
        raise ServiceFailed(f"Apache Flink could not be installed from {LOCK.name}: the reason is above.") from error
    (packages,) = programs.parent.glob("lib/python3.*/site-packages")
    return Environment(programs / "python", packages / "pyflink", jars, (packages, tools.ROOT / "shared"))


if __name__ == "__main__":
    if reason := missing():
        sys.exit(reason)
    main(JARS)
    print(install().python)
