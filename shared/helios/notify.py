"""Notifies the relay after a commit, when a failed notification may fail nothing else."""

import logging

from helios.errors import Retryable
from helios.ports.stream import Notifier

log = logging.getLogger("helios.notify")


def notify_best_effort(notifier: Notifier | None) -> None:
    """Notify of new frames, and only log when the notification fails.

    For callers that have committed: the frames are stored, and the next notification or sweep brings them.

    Args:
        notifier: None: there is nothing to notify.
    """
    if notifier is None:
        return
    try:
        notifier.notify()
    except Retryable as error:
        log.warning("notification failed", extra={"error": str(error)})
