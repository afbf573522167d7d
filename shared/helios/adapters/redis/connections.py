"""The connections of the API Gateway WebSocket, as a set in Redis."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from helios.errors import Retryable

KEY = "helios:connections"


class RedisConnections:
    """Implements ``Connections`` in Redis. After a flush, the clients' next pings restore the set."""

    def __init__(self, url: str) -> None:
        """Take the URL, ``redis://`` or ``rediss://``. The first use connects."""
        self._redis = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, decode_responses=True)

    def add(self, connection: str) -> None:
        """Add a connection. Adding it twice has no effect."""
        with translate_errors():
            self._redis.sadd(KEY, connection)

    def remove(self, *connections: str) -> None:
        """Remove connections, at least one."""
        with translate_errors():
            self._redis.srem(KEY, *connections)

    def all(self) -> list[str]:
        """The ids of all known connections, sorted."""
        with translate_errors():
            return sorted(map(str, self._redis.smembers(KEY)))


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate the errors of the Redis client into Retryable.

    Raises:
        Retryable: Redis can't be reached, or refuses the command.
    """
    try:
        yield
    except redis.RedisError as error:
        raise Retryable(f"Redis: {error}") from error
