"""One child process: started under a reaper, awaited until it is ready, and always stopped."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Self

from helios.processes import reaper
from helios.processes.private import append_private

Probe = Callable[[], bool]
"""A check whether a service is ready. False or an OSError means: not yet."""

_PROBE_PAUSE_SECONDS = 0.02
_TAIL_LINES = 15
_HOST_VARIABLES = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")


class ServiceFailed(Exception):  # noqa: N818 - reads as the fact it is
    """A service did not start, or did not become ready; the message ends with the last lines of its log."""


def scrubbed_environment(**more: str) -> dict[str, str]:
    """These variables and the few that every program needs: no other variable of the user's shell reaches a service."""
    return {name: os.environ[name] for name in _HOST_VARIABLES if name in os.environ} | more


class Process:
    """A running service. Its standard output and error go to its log file. It never outlives this process.

    Attributes:
        name: its name in logs and messages.
        pid: the service's own process id (its reaper's is another).
        log: the file its output is appended to; None: it is written to the standard error of this process.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path | None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: tuple[int, int] | None = None,
    ) -> None:
        """Start the service.

        Args:
            name: its name in logs and messages.
            command: the program and its arguments.
            log: the file to append to, whose folder is created; None: the standard error of this process.
            env: the whole environment of the service; by default ``scrubbed_environment()``.
            cwd: its working folder; by default ``/``, so that the process keeps none of the user's folders busy.
            user: user and group id to run as; only root may set it.
        """
        self.name = name
        self.log = log
        with self._open_log() as output:
            self._log_start = output.tell() if log else 0
            self._reaper = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", reaper.__file__),
                    f"{user[0]}:{user[1]}" if user else "",
                    *map(str, command),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=dict(scrubbed_environment() if env is None else env),
                cwd=cwd or "/",
                start_new_session=True,  # a Ctrl-C at the terminal is for the supervisor alone
            )
        assert self._reaper.stdin  # noqa: S101 - PIPE gives one; for mypy
        assert self._reaper.stdout  # noqa: S101 - as above
        self._lifeline = self._reaper.stdin
        with self._reaper.stdout as output_of_reaper:
            pid = output_of_reaper.readline()
        if not pid:
            self.kill()
            raise ServiceFailed(f"{name} did not start.\n{self.tail()}")
        self.pid = int(pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def returncode(self) -> int | None:
        """None while the service runs, then its exit code; 128 + N if signal N ended it."""
        code = self._reaper.poll()
        if code is not None:
            self._lifeline.close()
        return code

    @property
    def running(self) -> bool:
        """Whether the service has not ended."""
        return self.returncode is None

    def wait_ready(self, probe: Probe, *, seconds: float) -> None:
        """Return once the probe returns True.

        Raises:
            ServiceFailed: the service ended first, or the time is over; in both cases no process of it is left.
        """
        deadline = time.monotonic() + seconds
        while True:
            if not self.running:
                raise ServiceFailed(f"{self.name} ended {self.ending()} before it was ready.\n{self.tail()}")
            try:
                if probe():
                    return
            except OSError:
                pass  # refused, reset or timed out: not ready yet
            if time.monotonic() > deadline:
                self.kill()
                raise ServiceFailed(f"{self.name} was not ready within {seconds:g} s.\n{self.tail()}")
            time.sleep(_PROBE_PAUSE_SECONDS)

    def ending(self) -> str:
        """How the service ended, for messages: ``with exit code 1``, ``by SIGKILL``."""
        code = self.returncode
        if code is None or code <= reaper.SIGNALLED:
            return f"with exit code {code}"
        return f"by {signal.Signals(code - reaper.SIGNALLED).name}"

    def _open_log(self) -> BinaryIO:
        if self.log is None:
            return os.fdopen(os.dup(sys.stderr.fileno()), "wb")
        self.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return append_private(self.log)

    def tail(self, lines: int = _TAIL_LINES) -> str:
        """The path of the log, and the last lines that this run wrote to it."""
        if self.log is None:
            return "Its last lines are above."
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            text = log.read().decode(errors="replace")
        last = "\n".join(f"  | {line}" for line in text.splitlines()[-lines:])
        return f"The end of {self.log}:\n{last or '  (empty)'}"

    def wait(self, seconds: float) -> int | None:
        """The exit code once the service has ended, or None if it still runs after this time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._reaper.wait(seconds)
        return self.returncode

    def finish(self, *, seconds: float) -> None:
        """Return once the process has ended with exit code 0.

        Raises:
            ServiceFailed: it ended in another way, or the time is over; in both cases no process of it is left.
        """
        if self.wait(seconds) is None:
            self.kill()
            raise ServiceFailed(f"{self.name} did not end within {seconds:g} s.\n{self.tail()}")
        if self.returncode != 0:
            raise ServiceFailed(f"{self.name} ended {self.ending()}.\n{self.tail()}")

    def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 10) -> None:
        """Send this signal, and kill the service and its children after ``seconds``; a second call does nothing."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):  # it has ended in the meantime
                os.kill(self.pid, number)
            self.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """Kill the service and all its children at once, as ``kill -9`` does."""
        self._lifeline.close()
        self._reaper.wait()

    def keep_through_exec(self) -> None:
        """Let the service live on when this process replaces its program (``exec``), until it ends after all."""
        os.set_inheritable(self._lifeline.fileno(), True)  # noqa: FBT003 - its signature

    def pause(self) -> None:
        """Freeze the service and its children (SIGSTOP): a service that hangs, for fault tests."""
        for pid in (self.pid, *reaper.descendants(self.pid)):
            with contextlib.suppress(ProcessLookupError):  # it has ended in the meantime
                os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``pause``."""
        for pid in (*reaper.descendants(self.pid), self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
