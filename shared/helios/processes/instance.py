"""One run per folder: a locked file shows whether one uses the folder, and its process id."""

import fcntl
import os
import time
from pathlib import Path
from typing import IO, Self

from helios.errors import HeliosError
from helios.processes.private import private_folder

_POLL_SECONDS = 0.05


class AlreadyRunning(HeliosError):  # noqa: N818 - reads as the fact it is
    """Another run uses the folder."""


class Instance:
    """The lock of the run in this folder, held for the duration of the ``with`` block.

    The kernel releases the lock however the process dies, so a stale file never blocks a start.
    """

    def __init__(self, folder: Path, running_message: str) -> None:
        """Set the folder; ``__enter__`` takes the lock.

        Args:
            folder: created when missing.
            running_message: the message to the user when a run uses the folder; ``{pid}`` is its process.
        """
        self._running_message = running_message
        self._path = _path(folder)
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            AlreadyRunning: another process has the lock.
        """
        private_folder(self._path.parent)
        self._file = self._path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            pid = running(self._path.parent)
            raise AlreadyRunning(self._running_message.format(pid=pid)) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()


def running(folder: Path) -> int | None:
    """The id of the process whose run uses this folder, or None."""
    try:
        file = _path(folder).open()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None  # no run of this user
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0) or None
    return None


def wait_for_end(folder: Path, *, seconds: float) -> bool:
    """Whether the run in this folder has ended within this time."""
    deadline = time.monotonic() + seconds
    while running(folder) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _path(folder: Path) -> Path:
    return folder / "running.pid"
