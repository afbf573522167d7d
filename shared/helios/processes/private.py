"""Folders and files that only the user of the local stack may read: they hold passwords and payloads of events."""

import os
import stat
from pathlib import Path
from typing import BinaryIO


def private_folder(folder: Path) -> Path:
    """Create the folder, or restrict an existing one of this user; returns it.

    A folder that several users share, such as ``/tmp``, keeps its mode.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.stat()
    if status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX:
        folder.chmod(0o700)
    return folder


def private_opener(path: str, flags: int) -> int:
    """An ``opener``: a file that it creates has the mode 0600."""
    return os.open(path, flags, 0o600)


def append_private(path: Path) -> BinaryIO:
    """Open a file to append to, and create it for its user alone."""
    return open(path, "ab", opener=private_opener)


def write_private(path: Path, text: str) -> None:
    """Replace a file by one with this text, which only its user can read."""
    path.unlink(missing_ok=True)
    with open(path, "x", opener=private_opener) as file:
        file.write(text)
