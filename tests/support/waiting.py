"""Waiting for a condition, with a time limit."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(holds: Callable[[], bool], *, seconds: float = 20, facts: Callable[[], object] | None = None) -> None:
    """Return as soon as ``holds()`` is true; fail if it is not within ``seconds``, with what ``facts()`` returns."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() >= deadline:
            raise AssertionError(f"did not hold within {seconds:g} s" + (f": {facts()}" if facts else ""))
        time.sleep(0.02)


def awaited(get: Callable[[], T | None], *, seconds: float = 20) -> T:
    """The first result of ``get()`` that is neither empty nor None; fail if there is none within ``seconds``."""
    results: list[T] = []

    def has_result() -> bool:
        if result := get():
            results.append(result)
        return bool(results)

    eventually(has_result, seconds=seconds)
    return results[0]
