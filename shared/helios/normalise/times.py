"""Times as the clouds write them: RFC 3339, with up to nine digits after the second."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from helios.errors import Rejected

_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?P<offset>[Zz]|[+-]\d\d:\d\d)?", re.ASCII)

_PUNCTUATION: Final = ("--T::Z", "--T::.")
"""The characters between the numbers of a time in its usual form, which ``fromisoformat`` checks and reads faster."""


def read_time(text: str, *, field: str, assume_utc: bool = False) -> datetime:
    """A time in UTC. Digits beyond the microsecond are cut off, so that a time never moves to the next day.

    Args:
        text: the time as it was sent.
        field: the field, in the sender's spelling.
        assume_utc: whether a time without an offset is in UTC.

    Raises:
        Rejected: the text is not a time of RFC 3339, or lacks its offset.
    """
    if text[-1:] == "Z" and text[4:20:3] in _PUNCTUATION:
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass  # the reason follows
    form = _RFC_3339.fullmatch(text)
    if form is None:
        raise Rejected("is not a time of RFC 3339: send one like 2025-11-26T12:00:00Z", field=field)
    if form["offset"] is None and not assume_utc:
        raise Rejected("has no offset from UTC: add Z or +00:00", field=field)
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise Rejected(f"is not a time of the calendar: {error}", field=field) from error
    return utc(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def utc(moment: datetime) -> datetime:
    """The same instant in UTC. If that is outside the calendar, the nearest time inside."""
    if moment.tzinfo is UTC:
        return moment
    if moment.utcoffset() == timedelta(0):
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first and last day of the calendar
        return moment.replace(tzinfo=UTC)
