"""A proxy that counts how often a client of Postgres waits for an answer."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

TURN_SECONDS = 0.05
QUIET_TURNS = 3
"""After how many turns without data from the client it is taken to wait for an answer.

The proxy is a thread of the client's process. If the machine stops that process for long, it is one turn.
"""


class CountingProxy:
    """Passes data on. It holds the server's answers back until the client sends nothing more, and counts these waits.

    Attributes:
        trips: how often the client has waited.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self.trips = 0
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Serve connections until ``close``."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _pass_on(self, client: socket.socket) -> None:
        held, quiet = b"", 0
        with client, socket.create_connection(self._server) as server:
            while True:
                readable, _, _ = select.select([client, server], [], [], TURN_SECONDS if held else None)
                quiet = 0 if readable else quiet + 1
                if client in readable:
                    if not (data := client.recv(65536)):
                        return
                    server.sendall(data)
                elif server in readable:
                    if not (data := server.recv(65536)):
                        return
                    held += data
                elif quiet == QUIET_TURNS:
                    self.trips += 1  # before the client, and with it the test, goes on
                    client.sendall(held)
                    held, quiet = b"", 0


@contextmanager
def counting(host: str, port: int) -> Iterator[CountingProxy]:
    """A proxy in front of a server."""
    proxy = CountingProxy((host, port))
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
