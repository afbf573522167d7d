"""Two versions of Helios beside each other: their code, their migrations, and their functions as processes."""

import http.client
import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import Process, scrubbed_environment

REPOSITORY = Path(__file__).parents[2]
PREVIOUS_RELEASE = REPOSITORY / "infra/previous-release"
"""The commit of the previous release; docs/deploy.md says when it moves."""

_PARTS = ("functions", "shared")
_START_SECONDS = 60
_CALL_SECONDS = 30


class Answer(NamedTuple):
    """How a function answered.

    Attributes:
        acknowledged: whether the cloud may delete the delivery.
        content: the function's answer, or the reason for the other delivery.
    """

    acknowledged: bool
    content: object


class Server:
    """The functions of one role, of one version, in a process of their own."""

    def __init__(self, port: int) -> None:
        self._port = port

    def call(self, entry: str, body: bytes) -> Answer:
        """Call an entry point of the functions."""
        connection = http.client.HTTPConnection(HOST, self._port, timeout=_CALL_SECONDS)
        try:
            connection.request("POST", f"/{entry}", body)
            answer = connection.getresponse()
            return Answer(answer.status == http.HTTPStatus.OK, json.loads(answer.read()))
        finally:
            connection.close()


class Version:
    """The code of one version.

    Attributes:
        name: what the tests call it.
        tree: the folder with its ``functions`` and ``shared``.
    """

    def __init__(self, name: str, tree: Path) -> None:
        self.name = name
        self.tree = tree

    def environment(self, **more: str) -> dict[str, str]:
        """The variables of a process that runs this version's code with this machine's installed libraries."""
        return scrubbed_environment(PYTHONPATH=f"{self.tree / 'shared'}:{self.tree}", **more)

    def migrate(self, database_url: str) -> None:
        """Apply this version's migrations, as its command does."""
        subprocess.run(
            [sys.executable, "-P", "-m", "helios", "migrate"],
            check=True,
            capture_output=True,
            cwd=self.tree,
            env=self.environment(HELIOS_DATABASE_URL=database_url),
        )

    @property
    def _migrations(self) -> Path:
        return self.tree / "shared/helios/adapters/postgres/migrations"

    def migrations(self) -> set[str]:
        """The names of its migrations."""
        return {file.name for file in self._migrations.glob("*.sql")}

    def migration(self, name: str) -> str | None:
        """The SQL of a migration; None if this version does not have it."""
        file = self._migrations / name
        return file.read_text() if file.is_file() else None

    def only(self, migrations: Collection[str], folder: Path) -> "Version":
        """A copy of this version, in this folder, that has these of its migrations alone."""
        copy = Version(self.name, folder)
        shutil.copytree(self.tree, folder)
        for name in copy.migrations() - set(migrations):
            (copy._migrations / name).unlink()
        return copy

    @contextmanager
    def serving(self, environments: Mapping[str, Mapping[str, str]], logs: Path) -> Iterator[dict[str, Server]]:
        """Its functions while the block runs, by the role that they have in the database.

        Args:
            environments: the settings of each role's functions.
            logs: the folder for what the functions write.
        """
        program = Path(__file__).with_name("function_server.py")
        with ExitStack() as stack:
            started = {}
            for role, settings in environments.items():
                port = free_port()
                process = Process(
                    f"{role} of {self.name}",
                    [sys.executable, "-P", program, self.tree, role, str(port)],
                    log=logs / f"{self.name}-{role}.log",
                    env=self.environment(**settings),
                    cwd=self.tree,
                )
                started[role] = stack.enter_context(process), port
            for process, port in started.values():
                process.wait_ready(answers(f"http://{HOST}:{port}/"), seconds=_START_SECONDS)
            yield {role: Server(port) for role, (_, port) in started.items()}


def previous_commit() -> str:
    """The commit of the previous release."""
    return PREVIOUS_RELEASE.read_text().strip()


def has_commit(commit: str) -> bool:
    """Whether this clone has the commit, which a shallow clone may lack."""
    return _git("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0


def tree_of(commit: str, folder: Path) -> Path:
    """Write the code of a commit into the folder, and return the folder."""
    folder.mkdir()
    archive = _git("archive", commit, *_PARTS)
    archive.check_returncode()
    subprocess.run(["tar", "-x"], check=True, input=archive.stdout, cwd=folder)
    return folder


def tree_of_checkout(folder: Path) -> Path:
    """Write the code of this checkout, committed or not, into the folder, and return the folder."""
    for part in _PARTS:
        shutil.copytree(REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], check=False, capture_output=True, cwd=REPOSITORY)
