"""``python -m scripts.bench.against COMMIT``: ingest by this version and by another, in turns on the same servers."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from rich.console import Console

from helios.processes.process import scrubbed_environment
from local.stack.config import REPOSITORY
from scripts.bench import report
from scripts.bench.report import Table, median
from scripts.bench.servers import Servers, servers

REPEATS = {("plain", 1): 1500, ("plain", 500): 60, ("flows", 1): 1500, ("flows", 500): 60}
"""Batches of each kind and size; ``flows``: with the shipped flow, and the legs of orders in turn.

Each is stored by one version and then by the other, or the other way around."""
WARM_UP = 20
GOAL = 0.9

PROGRAM = Path(__file__).with_name("timed_ingest.py")


class Version:
    """A process that stores batches with the code of a folder, in a database of its own."""

    def __init__(self, code: Path, database_url: str, redis_url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(PROGRAM), database_url, redis_url],
            cwd=code,
            env=scrubbed_environment(PYTHONPATH=os.pathsep.join((str(code / "shared"), str(code)))),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def seconds(self, kind: str, batch: int) -> float:
        """Store a batch of new events, of a kind in REPEATS; the time that it took."""
        if self._process.stdin is None:
            raise RuntimeError("the process has no standard input")
        self._process.stdin.write(f"{batch} {kind}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"a version ended with exit code {self._process.wait()}")
        return line


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(prog="bench.against", description="Compare the ingest of two versions.")
    parser.add_argument("commit", help="the other version, which must have the modules of timed_ingest.py")
    parser.add_argument("--quick", action="store_true", help="a tenth of the batches")
    options = parser.parse_args()
    commit = options.commit
    console = Console(highlight=False)
    console.print(", ".join(f"{name} {value}" for name, value in report.machine().items()))
    with servers() as running, _checkout(commit) as code, ExitStack() as processes:
        versions = {
            name: Version(folder, url, running.redis_url)
            for (name, folder), url in zip(
                {"this version": REPOSITORY, commit: code}.items(), _databases(running), strict=True
            )
        }
        for version in versions.values():
            processes.callback(version.close)
        rows = [
            _row(list(versions.values()), kind, batch, repeats // (10 if options.quick else 1))
            for (kind, batch), repeats in REPEATS.items()
        ]
    report.show(
        console,
        Table(
            title="Ingest by two versions, events/s on one connection",
            columns=("kind", "batch", *versions, "ratio"),
            rows=rows,
            goal=f"goal: ratio of at least {GOAL}",
        ),
    )


def _row(versions: list[Version], kind: str, batch: int, repeats: int) -> tuple[str, int, float, float, float]:
    """The events per second of each version, from the median of its batches."""
    times: dict[Version, list[float]] = {version: [] for version in versions}
    for number in range(WARM_UP + repeats):
        for version in versions if number % 2 else reversed(versions):
            times[version].append(version.seconds(kind, batch))
    ours, others = (batch / median(times[version][WARM_UP:]) for version in versions)
    return kind, batch, ours, others, ours / others


@contextmanager
def _checkout(commit: str) -> Iterator[Path]:
    """A work tree of a commit."""
    with tempfile.TemporaryDirectory(prefix="helios-bench-") as folder:
        code = Path(folder) / "code"
        _git("worktree", "add", "--detach", str(code), commit)
        try:
            yield code
        finally:
            _git("worktree", "remove", "--force", str(code))


def _git(*arguments: str) -> None:
    command = [shutil.which("git") or "git", "-C", str(REPOSITORY), *arguments]
    subprocess.run(command, check=True, capture_output=True)


def _databases(running: Servers) -> list[str]:
    """The URLs of two empty databases, which the versions migrate."""
    urls = []
    with psycopg.connect(running.admin_url, autocommit=True) as connection:
        for name in ("ours", "others"):
            connection.execute(f"CREATE DATABASE {name} OWNER helios".encode())
            urls.append(psycopg.conninfo.make_conninfo(running.database_url, dbname=name))
    return urls


if __name__ == "__main__":
    main()
