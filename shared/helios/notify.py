"""Notifies the relay after a commit; a failed notification fails nothing else."""

import logging

from helios.errors import Retryable
from helios.ports.stream import Notifier

log = logging.getLogger("helios.notify")


def notify_best_effort(notifier: Notifier | None) -> None:
    """Notify the relay of new frames; a failure is only logged.

    For callers that have committed: the frames are stored, and the relay sends them at the next notification or sweep.

    Args:
        notifier: reaches the relay; None: do nothing.
    """
    if notifier is None:
        return
    try:
        notifier.notify()
    except Retryable as error:
        log.warning("notification failed", extra={"error": str(error)})
