"""Running without Redis: no duplicate filter."""

from collections.abc import Collection

from helios.model.events import Key


class NullDedupeCache:
    """Keeps ``DedupeCache`` by remembering nothing: what Helios runs with when no Redis is set."""

    failures = 0

    def lookup(self, keys: Collection[Key]) -> set[Key]:  # noqa: ARG002 - the port's signature
        """Nothing."""
        return set()

    def add(self, keys: Collection[Key]) -> None:
        """Does nothing."""

    def probe(self) -> None:
        """Always answers."""

    def close(self) -> None:
        """Has nothing to let go of."""
