"""Waiting for what happens elsewhere, with an end."""

import time
from collections.abc import Callable


def eventually(holds: Callable[[], bool], *, seconds: float = 20) -> None:
    """Return as soon as it holds; fail if it does not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"did not hold within {seconds:g} s"
        time.sleep(0.02)
