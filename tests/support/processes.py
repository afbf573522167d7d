"""Helpers that check whether processes still run."""

import os
import sys
import time
from pathlib import Path


def is_alive(pid):
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):  # the second: it ended between the open and the read
        if sys.platform == "linux":
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pids, seconds=20):
    """The processes that still run after ``seconds``; returns early once there is none."""
    deadline = time.monotonic() + seconds
    while (remaining := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return remaining
