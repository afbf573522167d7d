"""How every command reads and prints a time."""

import argparse
from datetime import UTC, datetime

TIME_FORMAT = "such as 2026-01-31T12:00:00Z; UTC unless it has another offset"
"""For the help of an option that takes a time."""


def moment(text: str) -> datetime:
    """The time in an ISO 8601 text, in UTC: the ``type`` of an option.

    A text without an offset is UTC as well, so that a command means the same on every machine.

    Raises:
        argparse.ArgumentTypeError: the text is not a time.
    """
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time {TIME_FORMAT}") from error


def utc_text(time: datetime) -> str:
    """The time in UTC with its offset, to the second: ``2026-01-31T12:00:00Z``, as ``--since`` reads it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
