"""What the services have in common: they can be started, stopped, killed, frozen and started again in place."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from local.stack.process import Probe, Process


class Server(ABC):
    """Something that runs, with a port and data of its own; a context manager that starts and stops it.

    Attributes:
        process: the running process, or the last one; None before the first start.
    """

    process: Process | None = None

    @abstractmethod
    def start(self) -> None:
        """Start it, and return once it answers.

        Raises:
            ServiceFailed: it does not.
        """

    @abstractmethod
    def stop(self) -> None:
        """End it in an orderly way; nothing acknowledged is lost. Does nothing when it is not running."""

    @property
    def broken(self) -> bool:
        """Whether it has ended although nobody asked it to."""
        return self.process is not None and not self.process.running

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running.pid

    def kill(self) -> None:
        """End it at once (kill -9)."""
        self._running.kill()

    def pause(self) -> None:
        """Freeze it: connections hang."""
        self._running.pause()

    def resume(self) -> None:
        """Let it go on."""
        self._running.resume()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: tuple[int, int] | None = None,
    ) -> Process:
        """Start the process; whatever is left of the one before is ended first. The words are those of ``Process``."""
        if self.process:
            self.process.kill()
        self.process = Process(name, command, log=log, env=env, cwd=cwd, user=user)
        return self.process

    @property
    def _running(self) -> Process:
        if self.process is None:
            raise RuntimeError(f"{type(self).__name__} was never started")
        return self.process


class Command(Server):
    """A server that is one command."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        ready: Probe,
        log: Path,
        cwd: Path | None = None,
        start_seconds: float = 60,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_seconds: float = 10,
    ) -> None:
        """Describe it; nothing is started yet.

        Args:
            name: what logs and messages call it.
            command: the program and its arguments.
            env: its whole environment.
            ready: asks whether it answers.
            log: its log file.
            cwd: its working folder.
            start_seconds: how long it may take until it answers.
            stop_signal: what asks it to end.
            stop_seconds: how long that may take.
        """
        self._name = name
        self._command = command
        self._env = env
        self._ready = ready
        self._log = log
        self._cwd = cwd
        self._start_seconds = start_seconds
        self._stop_signal = stop_signal
        self._stop_seconds = stop_seconds

    def start(self) -> None:
        """Start it."""
        process = self._launch(self._name, self._command, log=self._log, env=self._env, cwd=self._cwd)
        process.wait_ready(self._ready, seconds=self._start_seconds)

    def stop(self) -> None:
        """End it by its signal."""
        if self.process:
            self.process.stop(self._stop_signal, seconds=self._stop_seconds)


class Task(Server):
    """A command that is to run to its end: a step that later services need."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        log: Path,
        cwd: Path | None = None,
        seconds: float = 300,
    ) -> None:
        """Describe it; the words are those of ``Command``, and it may take so many seconds."""
        self._name = name
        self._command = command
        self._env = env
        self._log = log
        self._cwd = cwd
        self._seconds = seconds

    def start(self) -> None:
        """Run it, and return once it has succeeded."""
        process = self._launch(self._name, self._command, log=self._log, env=self._env, cwd=self._cwd)
        process.finish(seconds=self._seconds)

    def stop(self) -> None:
        """End it, should it still run."""
        if self.process:
            self.process.kill()

    @property
    def broken(self) -> bool:
        """Never: it raised when it failed, and has ended otherwise."""
        return False
