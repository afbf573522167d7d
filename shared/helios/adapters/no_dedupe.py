"""The deduplication cache for running without Redis: it stores nothing."""

from collections.abc import Collection

from helios.ports.events import CachedKey


class NullDedupeCache:
    """Implements ``DedupeCache`` without storing any key. Helios uses it when HELIOS_REDIS_URL is not set."""

    failures = 0

    def lookup(self, keys: Collection[CachedKey]) -> set[CachedKey]:  # noqa: ARG002 - the port's signature
        """Always the empty set."""
        return set()

    def add(self, keys: Collection[tuple[str, ...]]) -> None:
        """Do nothing."""

    def probe(self) -> None:
        """Return: there is no server to probe."""

    def close(self) -> None:
        """Do nothing: there is no connection to close."""
