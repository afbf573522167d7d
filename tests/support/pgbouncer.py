"""PgBouncer in transaction mode, before a Postgres: Debian's package, as an operator would run it."""

import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from helios.processes.ports import HOST
from helios.processes.probes import accepts
from helios.processes.server import Server

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
"""None: it is not installed."""

CONFIGURATION = """\
[databases]
* = host={host} port={postgres_port}

[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
pool_mode = transaction
auth_type = scram-sha-256
auth_file = {folder}/users.txt
max_client_conn = 500
default_pool_size = 20
; After a failed connection, PgBouncer by default waits for 15 s before the next one. The tests stop Postgres.
server_login_retry = 1
; By default a statement waits for 120 s for a server that is down.
query_wait_timeout = 5
"""


class PgBouncer(Server):
    """One PgBouncer. Each user whose URL it is given may connect to every database of the server."""

    def __init__(self, postgres_url: str, port: int, *, log: Path) -> None:
        """Describe a PgBouncer.

        Args:
            postgres_url: the URL of a database with the name and the password of a user.
            port: the port to listen on.
            log: its log file.
        """
        self._postgres_url = postgres_url
        self._port = port
        self._log = log
        self._folder: Path | None = None

    @property
    def url(self) -> str:
        """The URL of the database through PgBouncer."""
        return self.through(self._postgres_url)

    def through(self, database_url: str) -> str:
        """The URL through PgBouncer of another database of the same server and user."""
        parts = urlsplit(database_url)
        user = (parts.netloc).rpartition("@")[0]
        return parts._replace(netloc=f"{user}@{HOST}:{self._port}").geturl()

    def start(self) -> None:
        """Start it. It does not run as root, so root starts it as the user ``nobody``, who must read its files."""
        parts = urlsplit(self._postgres_url)
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="helios-pgbouncer-"))
            self._folder.chmod(0o755)
            configuration = CONFIGURATION.format(
                host=HOST, postgres_port=parts.port, port=self._port, folder=self._folder
            )
            (self._folder / "pgbouncer.ini").write_text(configuration)
            (self._folder / "users.txt").write_text(f'"{parts.username}" "{parts.password}"\n')
        assert PROGRAM
        as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
        process = self._launch("pgbouncer", [PROGRAM, *as_user, self._folder / "pgbouncer.ini"], log=self._log)
        process.wait_ready(accepts(self._port), seconds=30)

    def stop(self) -> None:
        """Stop it at once, and remove its files."""
        if self.process:
            self.process.stop()
        if self._folder:
            shutil.rmtree(self._folder)
            self._folder = None
