"""What is done to Helios: each fault begins and is taken away again."""

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
from helios.errors import HeliosError
from local.servers import valkey
from scripts.faults.orders import Orders
from scripts.faults.stage import HostedStage, Stage
from scripts.faults.watch import Watch

_WAL_SEGMENT: Final = 16 * 1024 * 1024
_MARK_SECONDS: Final = 600
_REFUSED_SECONDS: Final = 20.0
_VISIT_SECONDS: Final = 20.0


class Skipped(HeliosError):  # noqa: N818 - reads as the fact it is
    """This fault can't be made here; the message says why."""


class Fault(Protocol):
    """Something that goes wrong, and then no longer does."""

    def fail(self, stage: Stage, sent: Orders, watch: Watch) -> None:
        """Begin; ``sent`` is what is being sent meanwhile."""

    def heal(self, stage: Stage, watch: Watch) -> None:
        """Take it away."""


class Nothing:
    """What is sent is the fault."""

    def fail(self, stage: Stage, sent: Orders, watch: Watch) -> None:
        """Nothing."""

    def heal(self, stage: Stage, watch: Watch) -> None:
        """Nothing."""


class Down:
    """Services end, and are started again."""

    def __init__(self, *names: str, kill: bool) -> None:
        """``kill``: by ``kill -9`` with all their children, else by their signal, under load."""
        self._names = names
        self._kill = kill

    def fail(self, stage: Stage, sent: Orders, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """End them, one after the other."""
        for name in self._names:
            service = stage.service(name)
            service.kill() if self._kill else service.stop()

    def heal(self, stage: Stage, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Start them, in the order in which they were ended."""
        for name in self._names:
            stage.service(name).start()


class Cut:
    """Every connection between Helios and Postgres breaks, and no new one is made."""

    def fail(self, stage: Stage, sent: Orders, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Kill the proxy."""
        stage.proxies["postgres"].kill()

    def heal(self, stage: Stage, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Start it again."""
        stage.proxies["postgres"].start()


class Frozen:
    """A service hangs: SIGSTOP to it and its children."""

    def __init__(self, name: str) -> None:
        self._name = name

    def fail(self, stage: Stage, sent: Orders, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Freeze it."""
        stage.service(self._name).pause()

    def heal(self, stage: Stage, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Let it go on."""
        stage.service(self._name).resume()


class Flushed:
    """Redis forgets everything."""

    def fail(self, stage: Stage, sent: Orders, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Flush it."""
        with redis.Redis.from_url(valkey.url(stage.config.valkey_port)) as connection:
            connection.flushall()

    def heal(self, stage: Stage, watch: Watch) -> None:
        """Nothing."""


class StaleMarks:
    """Redis claims to know events that Postgres does not have: all that is still to be sent."""

    def fail(self, stage: Stage, sent: Orders, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Write the marks, as the filter itself does."""
        dedupe = RedisDedupeCache(valkey.url(stage.config.valkey_port), ttl_seconds=_MARK_SECONDS)
        later = sent.requests[len(sent.requests) // 2 :]
        dedupe.add({key for request in later for key in request.keys if key})
        dedupe.close()

    def heal(self, stage: Stage, watch: Watch) -> None:
        """Nothing."""


class Slow:
    """Everything to and from a store is held back by 20 ms."""

    def __init__(self, name: str) -> None:
        self._name = name

    def fail(self, stage: Stage, sent: Orders, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Make it slow."""
        stage.hold_back(self._name, slow=True)

    def heal(self, stage: Stage, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Make it fast."""
        stage.hold_back(self._name, slow=False)


class ConnectionLimit:
    """Others hold every connection that Postgres gives (53300), and those of Helios are ended."""

    def __init__(self) -> None:
        self._held: list[psycopg.Connection] = []
        self._refused, self._ended = threading.Event(), threading.Event()

    def fail(self, stage: Stage, sent: Orders, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Take all there are, and what becomes free."""
        self._refused.clear()
        self._ended.clear()
        self._hoard = threading.Thread(target=self._take, args=(stage.database_url,), daemon=True)
        self._hoard.start()
        if not self._refused.wait(_REFUSED_SECONDS):
            raise Skipped("Postgres gave more connections than this process can hold")
        self._held[0].execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'helios%'"
        )

    def heal(self, stage: Stage, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Let them go."""
        self._ended.set()
        self._hoard.join()
        while self._held:
            self._held.pop().close()

    def _take(self, url: str) -> None:
        while not self._ended.is_set():
            try:
                self._held.append(psycopg.connect(url, autocommit=True, application_name="hoard", connect_timeout=5))
            except psycopg.OperationalError:
                self._refused.set()
                time.sleep(0.02)


class DiskFull:
    """No file of Postgres may grow (RLIMIT_FSIZE), except that the log of 16 MB segments goes on."""

    def fail(self, stage: Stage, sent: Orders, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Set the limit where the table of events ends now."""
        with stage.database() as connection:
            (size,) = connection.execute("SELECT pg_relation_size('events')").fetchone() or (0,)
        if size < _WAL_SEGMENT:
            raise Skipped("the table of events is smaller than a segment of Postgres' log")
        self._limit(stage, size)

    def heal(self, stage: Stage, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Lift it."""
        with contextlib.suppress(Skipped):
            self._limit(stage, "unlimited")

    def _limit(self, stage: Stage, size: int | str) -> None:
        program = shutil.which("prlimit")
        if program is None:
            raise Skipped("util-linux' prlimit is not on PATH")
        for pid in stage.database_pids():
            with contextlib.suppress(FileNotFoundError):  # it ended meanwhile
                # In the server's own name: only that one, and who may override limits, may set them.
                owner = Path(f"/proc/{pid}").stat()
                command = [program, f"--pid={pid}", f"--fsize={size}:"]
                subprocess.run(command, user=owner.st_uid, group=owner.st_gid, check=False, cwd="/")


class LambdaKilled:
    """The processes of every Lambda function, the relay's too, are killed in the middle of their work."""

    def fail(self, stage: Stage, sent: Orders, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Kill them; the emulator starts others."""
        workers = stage.lambda_workers()
        if not workers:
            raise Skipped("the AWS emulator runs its functions in no process that can be told")
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def heal(self, stage: Stage, watch: Watch) -> None:
        """Nothing: AWS does it."""


class SupervisorKilled:
    """What started every service is killed, and takes them all along, Postgres and the emulators too."""

    def fail(self, stage: Stage, sent: Orders, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Kill it."""
        if isinstance(stage, HostedStage):
            stage.kill()

    def heal(self, stage: Stage, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Start another on what is left on disk."""
        if isinstance(stage, HostedStage):
            stage.start()


class Churn:
    """Watchers come and go, without a word."""

    def fail(self, stage: Stage, sent: Orders, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """Let them in."""
        watch.churning = True

    def heal(self, stage: Stage, watch: Watch) -> None:  # noqa: ARG002 - as the protocol has it
        """The last one leaves, once somebody has come: while the API was away nobody could."""
        deadline = time.monotonic() + _VISIT_SECONDS
        while not watch.visits and time.monotonic() < deadline:
            time.sleep(0.05)
        watch.churning = False
        if not watch.visits:
            watch.wrong.append("nobody came to watch")


class Together:
    """Several at once."""

    def __init__(self, *faults: Fault) -> None:
        self._faults = faults

    def fail(self, stage: Stage, sent: Orders, watch: Watch) -> None:
        """Begin each."""
        for fault in self._faults:
            fault.fail(stage, sent, watch)

    def heal(self, stage: Stage, watch: Watch) -> None:
        """Take each away, in the same order."""
        for fault in self._faults:
            fault.heal(stage, watch)
