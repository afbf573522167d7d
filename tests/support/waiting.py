"""Waiting for a condition, with a time limit."""

import time
from collections.abc import Callable


def eventually(holds: Callable[[], bool], *, seconds: float = 20) -> None:
    """Return as soon as ``holds()`` is true; fail if it is not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"did not hold within {seconds:g} s"
        time.sleep(0.02)
