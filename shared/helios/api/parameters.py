"""Parameters that several routes share."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator
from starlette.convertors import Convertor, register_url_convertor

MAX_PAGE = 500


class _AnyText(Convertor[str]):
    """The rest of a path, whatever it contains. Starlette's ``path`` stops at a line break, which an id may have."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        """The text as it is."""
        return value

    def to_string(self, value: str) -> str:
        """The text as it is."""
        return value


register_url_convertor("text", _AnyText())


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("contains a NUL character")
    return text


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("has no UTC offset. Use a time such as 2025-11-26T12:00:00Z.")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is outside the supported range of dates") from error


Text = Annotated[str, AfterValidator(_storable)]
Moment = Annotated[datetime, AfterValidator(_utc)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Maximum number of items on this page")]
After = Annotated[str | None, Query(description="next_cursor of the previous page", max_length=8192)]
