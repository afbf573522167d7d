"""Events: the cache of their keys, storing them, and reading them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from helios.model.events import Event, EventFilter, Key
from helios.model.paging import Page
from helios.ports.pending import Pending

CachedKey = TypeVar("CachedKey", bound=tuple[str, ...])
"""The identity of an event, of three parts, or of a flow instance, of two."""


class DedupeCache(Protocol):
    """A fast cache of the keys of stored events, and of flow instances that wait for more of them.

    Only a hint: it may forget, be unavailable, or be wrong.

    Attributes:
        failures: how many calls it could not serve.
    """

    @property
    def failures(self) -> int: ...  # noqa: D102 - described above

    def lookup(self, keys: Collection[CachedKey]) -> set[CachedKey]:
        """The keys among these that the cache holds; none when the cache is unavailable. Never raises."""

    def add(self, keys: Collection[tuple[str, ...]]) -> None:
        """Add keys of what is committed. Never raises."""

    def probe(self) -> None:
        """Return if the cache answers now.

        Raises:
            Retryable: the cache does not answer.
        """

    def close(self) -> None:
        """Close its connections."""


class EventWriter(Protocol):
    """The events, within a unit of work."""

    def insert(self, events: Sequence[Event]) -> Pending[set[Key]]:
        """Begin to store the events that are new; the result is their keys."""

    def digests(self, keys: Collection[Key]) -> dict[Key, str]:
        """The content digest of each stored event among the keys."""

    def get(self, keys: Collection[Key]) -> dict[Key, Event]:
        """The stored events among the keys."""


class EventReader(Protocol):
    """Reads stored events. Every method raises Retryable when the store can't be reached."""

    def events(self, where: EventFilter, *, after: str | None, limit: int) -> Page[Event]:
        """A page of events, the newest ``received_at`` first.

        Raises:
            Rejected: ``after`` is not a cursor of an earlier page.
        """

    def event(self, key: Key) -> Event | None:
        """The event with this identity, or None."""

    def find(self, keys: Collection[Key], *, received_at: Mapping[Key, datetime] | None = None) -> list[Event]:
        """The events with these identities, in any order.

        Args:
            keys: the identities.
            received_at: when the events were received, as far as the caller knows: an event is also found if the store
                has forgotten its identity.
        """
