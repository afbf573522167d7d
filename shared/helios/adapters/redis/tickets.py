"""WebSocket tickets in Redis: valid for one use and for a short time."""

import secrets

import msgspec
import redis

from helios.adapters.redis.connections import translate_errors
from helios.model.tokens import TICKET_SECONDS, TicketHolder, digest

KEY_PREFIX = "helios:ticket"


class RedisTickets:
    """Implements ``Tickets`` in Redis. It stores digests only, so a reader of Redis can't use a ticket."""

    def __init__(self, url: str) -> None:
        """Take the URL, ``redis://`` or ``rediss://``. The first use connects."""
        self._redis = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, decode_responses=True)

    def issue(self, holder: TicketHolder) -> str:
        """A new ticket for this client, valid for TICKET_SECONDS."""
        ticket = secrets.token_urlsafe(32)
        with translate_errors():
            self._redis.set(_key(ticket), msgspec.json.encode(holder), ex=TICKET_SECONDS)
        return ticket

    def redeem(self, ticket: str) -> TicketHolder | None:
        """The ticket's client, on first use; None if the ticket is unknown, used or expired."""
        with translate_errors():
            holder = self._redis.getdel(_key(ticket))
        return None if holder is None else msgspec.json.decode(str(holder), type=TicketHolder)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def _key(ticket: str) -> str:
    return f"{KEY_PREFIX}:{digest(ticket)}"
