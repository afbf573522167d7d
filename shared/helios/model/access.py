"""What a caller may see of the events: limits by source, type and flow, and masked fields."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta

from helios.errors import Rejected
from helios.model.spellings import spelled_paths

MASKED = "[masked]"
"""Replaces the value of a masked field, and text that may quote one."""

MAX_LIMITS = 64
"""Maximum number of names in each limit of a token."""

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Names = Annotated[tuple[Name, ...], Meta(max_length=MAX_LIMITS)]


class EventLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Which events a caller may see. None means any; an empty tuple means none.

    Attributes:
        sources: the event comes from one of these.
        types: its type matches one of these patterns, in which ``*`` stands for any text.
        legs: it belongs to one of these legs of flows, each a pair of source and type; the source None is any.
    """

    sources: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    legs: tuple[tuple[str | None, str], ...] | None = None

    def allows_source(self, source: str | None) -> bool:
        """Whether the caller may see that something comes from this source; None: from any source."""
        return self.sources is None or source in self.sources

    def allows(self, source: str | None, type_: str) -> bool:
        """Whether the caller may see all events of this source (None: of any) and type (empty: not known)."""
        return (
            self.allows_source(source)
            and (self.types is None or any(_pattern(pattern).fullmatch(type_) for pattern in self.types))
            and (self.legs is None or any(type_ == leg and of in {None, source} for of, leg in self.legs))
        )

    @property
    def by_content(self) -> bool:
        """Whether the limits depend on the content of a delivery, which is not known of one that can't be read."""
        return self.types is not None or self.legs is not None


class Visibility(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a token lets its holder see. Every limit narrows; None means no limit, and an empty tuple means nothing.

    Attributes:
        sources: only events of these sources.
        types: only events whose type matches one of these patterns, such as ``Order*``.
        flows: only instances of these flows, and events that belong to one of their legs.
        masked: the paths of payload fields whose values are hidden, and by which nothing can be searched.
    """

    sources: Names | None = None
    types: Names | None = None
    flows: Names | None = None
    masked: Names = ()

    @property
    def is_limited(self) -> bool:
        """Whether anything is hidden."""
        return self != EVERYTHING

    @property
    def masked_paths(self) -> tuple[str, ...]:
        """The masked paths in every spelling that Helios reads."""
        return tuple(dict.fromkeys(path for name in self.masked for path in spelled_paths(name)))

    def masks(self, path: str) -> bool:
        """Whether the field at this path, or one that contains it, is masked."""
        return any(path == masked or path.startswith(f"{masked}.") for masked in self.masked_paths)

    def check_searchable(self, **values: object) -> None:
        """Return if a caller may search by the fields that have a value.

        Raises:
            Rejected: a field is masked. A search would tell its values, one guess at a time.
        """
        for name, value in values.items():
            if value is not None and self.masks(name):
                raise Rejected("is masked for this token. Search by another field.", field=name, status=403)


EVERYTHING = Visibility()


def describe(visibility: Visibility) -> str:
    """The limits in words, for listings and the audit log; empty if there are none."""
    limits: list[tuple[str, Iterable[str] | None]] = [
        ("sources", visibility.sources),
        ("types", visibility.types),
        ("flows", visibility.flows),
        ("masked", visibility.masked or None),
    ]
    return "; ".join(f"{name} {', '.join(values) or 'none'}" for name, values in limits if values is not None)


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
