"""What stands in the way of a start: each problem is one sentence that says what to do. Standard library alone."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from helios.processes.ports import HOST, PortTaken, require_free

MEGABYTE = 1_000_000


def folder_problem(folder: Path, *, remedy: str) -> str | None:
    """Why files can't be written to this folder or, if it is missing, why it can't be created."""
    existing = _existing(folder)
    if not existing.is_dir():
        return f"{existing} is not a folder. {remedy}"
    if not os.access(existing, os.W_OK | os.X_OK):
        read_only = _is_read_only(existing)
        reason = "its file system is read-only" if read_only else f"this user may not write to {existing}"
        return f"The folder {folder} can't be written: {reason}. {remedy}"
    return None


def space_problem(folder: Path, *, megabytes: int, remedy: str) -> str | None:
    """Why the file system of this folder, which may be missing, is too full."""
    free = shutil.disk_usage(_existing(folder)).free // MEGABYTE
    if free >= megabytes:
        return None
    return f"The disk of {folder} has {free} MB free, and {megabytes} MB are needed. Free some space, or {remedy}"


def port_problems(ports: Mapping[str, tuple[int, str]], *, host: str = HOST) -> list[str]:
    """A sentence for each port that is in use.

    Args:
        ports: by service, its port and the setting of the port.
        host: the address on which the services will listen.
    """
    problems = []
    for service, (port, setting) in ports.items():
        try:
            require_free(port, service=service, setting=setting, host=host)
        except PortTaken as error:
            problems.append(str(error))
    return problems


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    for path in (folder, *folder.parents):
        if os.path.lexists(path):
            return path
    return Path("/")


def _is_read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
