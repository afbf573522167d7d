"""WebSocket tickets in Redis: valid for one use and for a short time."""

import secrets

import redis

from helios.adapters.redis.connections import translate_errors
from helios.model.tokens import TICKET_SECONDS, digest

KEY_PREFIX = "helios:ticket"


class RedisTickets:
    """Implements ``Tickets`` in Redis. It stores digests only, so a reader of Redis can't use a ticket."""

    def __init__(self, url: str) -> None:
        """Take the URL, ``redis://`` or ``rediss://``. The first use connects."""
        self._redis = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, decode_responses=True)

    def issue(self, name: str) -> str:
        """A new ticket for the client with this name, valid for TICKET_SECONDS."""
        ticket = secrets.token_urlsafe(32)
        with translate_errors():
            self._redis.set(_key(ticket), name, ex=TICKET_SECONDS)
        return ticket

    def redeem(self, ticket: str) -> str | None:
        """The name of the ticket's client, on first use; None if the ticket is unknown, used or expired."""
        with translate_errors():
            name = self._redis.getdel(_key(ticket))
        return None if name is None else str(name)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def _key(ticket: str) -> str:
    return f"{KEY_PREFIX}:{digest(ticket)}"
