"""The faults: each can be injected into a testbed and removed again."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Final, Protocol

import psycopg
import redis

from helios.adapters.redis.dedupe import RedisDedupeCache
from helios.embedded import valkey
from helios.errors import HeliosError
from scripts.faults.orders import Orders
from scripts.faults.stream_clients import StreamClients
from scripts.faults.testbed import HostedTestbed, Testbed

_WAL_SEGMENT: Final = 16 * 1024 * 1024
_MARK_SECONDS: Final = 600
_REFUSED_SECONDS: Final = 20.0
_CONNECT_SECONDS: Final = 20.0


class Skipped(HeliosError):  # noqa: N818 - reads as the fact it is
    """This fault can't be injected on this machine; the message gives the reason."""


class Fault(Protocol):
    """A fault that can be injected and removed."""

    def inject(self, testbed: Testbed, sent: Orders, stream_clients: StreamClients) -> None:
        """Inject the fault; ``sent`` is what the sender sends meanwhile."""

    def remove(self, testbed: Testbed, stream_clients: StreamClients) -> None:
        """Remove the fault."""


class NoFault:
    """No fault: the traffic of the scenario is the test."""

    def inject(self, testbed: Testbed, sent: Orders, stream_clients: StreamClients) -> None:
        """Do nothing."""

    def remove(self, testbed: Testbed, stream_clients: StreamClients) -> None:
        """Do nothing."""


class Down:
    """Services end and are started again."""

    def __init__(self, *names: str, kill: bool) -> None:
        """Name the services; ``kill``: send ``kill -9`` to them and their children, else their stop signal."""
        self._names = names
        self._kill = kill

    def inject(self, testbed: Testbed, sent: Orders, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Stop the services, one after the other."""
        for name in self._names:
            service = testbed.service(name)
            service.kill() if self._kill else service.stop()

    def remove(self, testbed: Testbed, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Start the services, in the order in which they were stopped."""
        for name in self._names:
            testbed.service(name).start()


class Cut:
    """Every connection between Helios and Postgres breaks, and new ones fail."""

    def inject(self, testbed: Testbed, sent: Orders, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Kill the proxy."""
        testbed.proxies["postgres"].kill()

    def remove(self, testbed: Testbed, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Start the proxy again."""
        testbed.proxies["postgres"].start()


class Frozen:
    """A service hangs: the service and its children get SIGSTOP."""

    def __init__(self, name: str) -> None:
        self._name = name

    def inject(self, testbed: Testbed, sent: Orders, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Send SIGSTOP."""
        testbed.service(self._name).pause()

    def remove(self, testbed: Testbed, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Send SIGCONT."""
        testbed.service(self._name).resume()


def _valkey_url(testbed: Testbed) -> str:
    return valkey.url(testbed.config.valkey_port, testbed.config.credentials.valkey)


class Flushed:
    """Redis loses all data."""

    def inject(self, testbed: Testbed, sent: Orders, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Flush Redis."""
        with redis.Redis.from_url(_valkey_url(testbed)) as connection:
            connection.flushall()

    def remove(self, testbed: Testbed, stream_clients: StreamClients) -> None:
        """Do nothing."""


class StaleMarks:
    """Redis has marks of events that Postgres does not store: the second half of what the sender sends."""

    def inject(self, testbed: Testbed, sent: Orders, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Write the marks with Helios' own dedupe cache."""
        dedupe = RedisDedupeCache(_valkey_url(testbed), ttl_seconds=_MARK_SECONDS)
        later = sent.requests[len(sent.requests) // 2 :]
        dedupe.add({key for request in later for key in request.keys if key})
        dedupe.close()

    def remove(self, testbed: Testbed, stream_clients: StreamClients) -> None:
        """Do nothing."""


class Slow:
    """The proxy delays all data to and from a store by 20 ms."""

    def __init__(self, name: str) -> None:
        self._name = name

    def inject(self, testbed: Testbed, sent: Orders, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Add the delay."""
        testbed.set_slow(self._name, slow=True)

    def remove(self, testbed: Testbed, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Remove the delay."""
        testbed.set_slow(self._name, slow=False)


class ConnectionLimit:
    """Other clients hold every connection that Postgres allows (53300), and those of Helios are terminated."""

    def __init__(self) -> None:
        self._held: list[psycopg.Connection] = []
        self._refused, self._ended = threading.Event(), threading.Event()

    def inject(self, testbed: Testbed, sent: Orders, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Open every connection that is free or becomes free, then terminate those of Helios."""
        self._refused.clear()
        self._ended.clear()
        self._thread = threading.Thread(target=self._open_connections, args=(testbed.database_url,), daemon=True)
        self._thread.start()
        if not self._refused.wait(_REFUSED_SECONDS):
            raise Skipped("Postgres allows more connections than this process can open")
        self._held[0].execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'helios%'"
        )

    def remove(self, testbed: Testbed, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Close the connections."""
        self._ended.set()
        self._thread.join()
        while self._held:
            self._held.pop().close()

    def _open_connections(self, url: str) -> None:
        while not self._ended.is_set():
            try:
                self._held.append(psycopg.connect(url, autocommit=True, application_name="hoard", connect_timeout=5))
            except psycopg.OperationalError:
                self._refused.set()
                time.sleep(0.02)


class DiskFull:
    """Files of Postgres can't grow above the size of the events table (RLIMIT_FSIZE); the 16 MB WAL segments can."""

    def inject(self, testbed: Testbed, sent: Orders, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Set the limit to the current size of the table ``events``."""
        with testbed.database() as connection:
            (size,) = connection.execute("SELECT pg_relation_size('events')").fetchone() or (0,)
        if size < _WAL_SEGMENT:
            raise Skipped("the table events is smaller than a WAL segment")
        self._limit(testbed, size)

    def remove(self, testbed: Testbed, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Remove the limit."""
        with contextlib.suppress(Skipped):
            self._limit(testbed, "unlimited")

    def _limit(self, testbed: Testbed, size: int | str) -> None:
        program = shutil.which("prlimit")
        if program is None:
            raise Skipped("util-linux' prlimit is not on PATH")
        for pid in testbed.database_pids():
            with contextlib.suppress(FileNotFoundError):  # the process has ended
                # As the server's own user: only that user and one with CAP_SYS_RESOURCE may set its limits.
                owner = Path(f"/proc/{pid}").stat()
                command = [program, f"--pid={pid}", f"--fsize={size}:"]
                subprocess.run(command, user=owner.st_uid, group=owner.st_gid, check=False, cwd="/")


class LambdaKilled:
    """The processes of every Lambda function, including the relay, are killed while they work."""

    def inject(self, testbed: Testbed, sent: Orders, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Kill the processes; the emulator starts new ones."""
        workers = testbed.lambda_workers()
        if not workers:
            raise Skipped("the processes of the AWS emulator's functions can't be identified")
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def remove(self, testbed: Testbed, stream_clients: StreamClients) -> None:
        """Do nothing: the emulator restarts the functions."""


class SupervisorKilled:
    """The supervisor is killed, and all services end with it, including Postgres and the emulators."""

    def inject(self, testbed: Testbed, sent: Orders, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Kill the supervisor."""
        if isinstance(testbed, HostedTestbed):
            testbed.kill()

    def remove(self, testbed: Testbed, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Start a new supervisor on the data that is on disk."""
        if isinstance(testbed, HostedTestbed):
            testbed.start()


class Churn:
    """WebSocket clients connect and disconnect without a close frame."""

    def inject(self, testbed: Testbed, sent: Orders, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Start to open connections."""
        stream_clients.churning = True

    def remove(self, testbed: Testbed, stream_clients: StreamClients) -> None:  # noqa: ARG002 - the protocol's signature
        """Stop opening connections, after at least one was open: while the API is down none can be."""
        deadline = time.monotonic() + _CONNECT_SECONDS
        while not stream_clients.connections and time.monotonic() < deadline:
            time.sleep(0.05)
        stream_clients.churning = False
        if not stream_clients.connections:
            stream_clients.violations.append("no short-lived client connected")


class Combined:
    """Several faults at once."""

    def __init__(self, *faults: Fault) -> None:
        self._faults = faults

    def inject(self, testbed: Testbed, sent: Orders, stream_clients: StreamClients) -> None:
        """Inject each fault."""
        for fault in self._faults:
            fault.inject(testbed, sent, stream_clients)

    def remove(self, testbed: Testbed, stream_clients: StreamClients) -> None:
        """Remove each fault, in the same order."""
        for fault in self._faults:
            fault.remove(testbed, stream_clients)
