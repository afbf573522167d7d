"""WebSocket tickets in Redis: used once, and gone soon."""

import secrets

import redis

from helios.adapters.redis.connections import translated
from helios.model.tokens import TICKET_SECONDS, digest

KEY_PREFIX = "helios:ticket"


class RedisTickets:
    """Keeps ``Tickets`` in Redis; as with tokens, what is kept can't be used."""

    def __init__(self, url: str) -> None:
        """Connect when first used; ``url`` is ``redis://`` or ``rediss://``."""
        self._redis = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, decode_responses=True)

    def issue(self, name: str) -> str:
        """A ticket for whoever has this name."""
        ticket = secrets.token_urlsafe(32)
        with translated():
            self._redis.set(_key(ticket), name, ex=TICKET_SECONDS)
        return ticket

    def redeem(self, ticket: str) -> str | None:
        """Whose ticket it is, the first time that anybody asks; None: it opens nothing."""
        with translated():
            name = self._redis.getdel(_key(ticket))
        return None if name is None else str(name)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def _key(ticket: str) -> str:
    return f"{KEY_PREFIX}:{digest(ticket)}"
