"""How every command reads a time."""

import argparse
from datetime import UTC, datetime

FORM = "such as 2026-01-31T12:00:00Z; UTC unless it has another offset"
"""For the help of an option that takes a time."""


def moment(text: str) -> datetime:
    """The time that an ISO 8601 text names, in UTC: the ``type`` of an option.

    Without an offset it is UTC as well, so that a command means the same on every machine.

    Raises:
        argparse.ArgumentTypeError: the text names no time.
    """
    try:
        read = datetime.fromisoformat(text)
        return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time {FORM}") from error
