"""One demo per state folder: a locked file tells whether it runs and which process it is."""

import fcntl
import os
import time
from pathlib import Path
from typing import IO, Self

from helios.errors import HeliosError

_POLL_SECONDS = 0.05


class AlreadyRuns(HeliosError):  # noqa: N818 - reads as the fact it is
    """Another demo has the state folder."""


class Instance:
    """The right to run the demo in this folder, for as long as the block lasts.

    The kernel drops the lock however the process dies, so a stale file never stands in the way.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is locked yet."""
        self._path = _path(folder)
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            AlreadyRuns: another process has it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise AlreadyRuns(f"a demo runs already (process {running(self._path.parent)}): make local-stop") from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()


def running(folder: Path) -> int | None:
    """The process that runs the demo in this folder, or None."""
    try:
        file = _path(folder).open()
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0) or None
    return None


def wait_for_end(folder: Path, *, seconds: float) -> bool:
    """Whether the demo in this folder has ended within so many seconds."""
    deadline = time.monotonic() + seconds
    while running(folder) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _path(folder: Path) -> Path:
    return folder / "demo.pid"
