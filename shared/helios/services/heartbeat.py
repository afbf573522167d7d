"""Heartbeats of the log: time passes for the job although no delivery arrives."""

import logging
import threading
from datetime import UTC, datetime
from typing import Final

from helios.errors import Retryable
from helios.ports.log import Heartbeats

BEAT_SECONDS: Final = 2.0
"""The time between two heartbeats: the deadlines of a quiet log pass so much later at most."""

log = logging.getLogger("helios.heartbeat")


def beat(heartbeats: Heartbeats, stopping: threading.Event) -> None:
    """Send heartbeats until ``stopping`` is set. Those of several processes do no harm."""
    while not stopping.wait(BEAT_SECONDS):
        try:
            heartbeats.send(datetime.now(UTC))
        except Retryable as error:
            log.warning("no heartbeat", extra={"error": str(error)})
