"""The interface of every service: start, stop, kill, freeze, and start again on the same port and data."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from helios.processes.process import Probe, Process


class Server(ABC):
    """A server with a port and data of its own; as a context manager, it starts and stops.

    Attributes:
        process: the running process, or the last one; None before the first start.
    """

    process: Process | None = None

    @abstractmethod
    def start(self) -> None:
        """Start the server, and return once it answers.

        Raises:
            ServiceFailed: the server does not answer.
        """

    @abstractmethod
    def stop(self) -> None:
        """Shut down in order, without losing acknowledged data. Does nothing when the server is not running."""

    @property
    def broken(self) -> bool:
        """Whether the server has ended without a call of ``stop``."""
        return self.process is not None and not self.process.running

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running.pid

    def kill(self) -> None:
        """Kill the server at once (kill -9)."""
        self._running.kill()

    def pause(self) -> None:
        """Freeze the server: its connections hang."""
        self._running.pause()

    def resume(self) -> None:
        """Continue a frozen server."""
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
        log: Path | None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: tuple[int, int] | None = None,
    ) -> Process:
        """Start the process after killing what is left of the previous one. The parameters are those of ``Process``."""
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
        log: Path | None,
        cwd: Path | None = None,
        start_seconds: float = 60,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_seconds: float = 10,
    ) -> None:
        """Describe the server; ``start`` starts it.

        Args:
            name: its name in logs and messages.
            command: the program and its arguments.
            env: its whole environment.
            ready: checks whether it answers.
            log: its log file; None: the standard error of this process.
            cwd: its working folder.
            start_seconds: longest time until it answers.
            stop_signal: the signal that shuts it down.
            stop_seconds: longest time for the shutdown.
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
        """Start the command, and return once it is ready."""
        process = self._launch(self._name, self._command, log=self._log, env=self._env, cwd=self._cwd)
        process.wait_ready(self._ready, seconds=self._start_seconds)

    def stop(self) -> None:
        """Send the stop signal, and wait for the end."""
        if self.process:
            self.process.stop(self._stop_signal, seconds=self._stop_seconds)


class Task(Server):
    """A command that runs to its end: a step that later services need."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        log: Path | None,
        cwd: Path | None = None,
        seconds: float = 300,
    ) -> None:
        """Describe the command; the parameters are those of ``Command``, and ``seconds`` limits its duration."""
        self._name = name
        self._command = command
        self._env = env
        self._log = log
        self._cwd = cwd
        self._seconds = seconds

    def start(self) -> None:
        """Run the command, and return once it has succeeded."""
        process = self._launch(self._name, self._command, log=self._log, env=self._env, cwd=self._cwd)
        process.finish(seconds=self._seconds)

    def stop(self) -> None:
        """Kill the command if it still runs."""
        if self.process:
            self.process.kill()

    @property
    def broken(self) -> bool:
        """Always False: ``start`` raises when the command fails, and returns when it has ended."""
        return False
