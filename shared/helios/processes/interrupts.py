"""Signals that ask a run to end: before it has loaded, while it runs, and the second time. Standard library alone."""

import os
import signal
from collections.abc import Callable
from threading import Thread
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_INTERRUPTED = 130
"""The exit code of a program that Ctrl-C has ended before it could do its work."""

_BEFORE_THE_START = b"\nInterrupted before anything was started.\n"


class Interrupted(BaseException):
    """A signal asked the run to end. Not an ``Exception``, so that no handler of errors catches it."""


def exit_before_the_start() -> None:
    """End the process on a signal with one sentence: for the time in which Python loads the program."""
    for number in SIGNALS:
        signal.signal(number, _exit_with_a_sentence)


def restore_defaults() -> None:
    """Undo ``exit_before_the_start``."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def raise_on_the_first() -> None:
    """Raise ``Interrupted`` in the main thread on the first signal; exit at once on the second.

    The reapers then end the services.
    """
    for number in SIGNALS:
        signal.signal(number, _raise)


def close_on_sigterm(close: Callable[[], None]) -> None:
    """Close something in a thread before SIGTERM ends the process.

    The main thread may wait within C code, as Lambda's does for its next call: Python then runs no handler of a signal.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)

    def wait() -> None:
        while os.read(read_end, 1) != bytes([signal.SIGTERM]):
            pass
        try:
            close()
        finally:
            os._exit(128 + signal.SIGTERM)

    Thread(target=wait, name="close-on-sigterm", daemon=True).start()


def _raise(number: int, _frame: FrameType | None) -> NoReturn:
    for other in SIGNALS:
        signal.signal(other, _exit)
    raise Interrupted(signal.Signals(number).name)


def _exit(_number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(EXIT_INTERRUPTED)


def _exit_with_a_sentence(_number: int, _frame: FrameType | None) -> NoReturn:
    os.write(2, _BEFORE_THE_START)
    os._exit(EXIT_INTERRUPTED)
