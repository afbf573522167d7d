"""Who is connected to the API Gateway WebSocket, as a set in Redis."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from helios.errors import Retryable

KEY = "helios:connections"


class RedisConnections:
    """Keeps ``Connections`` in Redis; a flush heals with the clients' next pings."""

    def __init__(self, url: str) -> None:
        """Connect when first used; ``url`` is ``redis://`` or ``rediss://``."""
        self._redis = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, decode_responses=True)

    def add(self, connection: str) -> None:
        """It is connected."""
        with translated():
            self._redis.sadd(KEY, connection)

    def remove(self, connection: str) -> None:
        """It has left."""
        with translated():
            self._redis.srem(KEY, connection)

    def all(self) -> list[str]:
        """Everybody who is connected, as far as is known."""
        with translated():
            return sorted(map(str, self._redis.smembers(KEY)))


@contextmanager
def translated() -> Iterator[None]:
    """Give Redis' errors the name that the core knows.

    Raises:
        Retryable: Redis can't be reached, or refuses.
    """
    try:
        yield
    except redis.RedisError as error:
        raise Retryable(f"Redis: {error}") from error
