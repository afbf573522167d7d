"""Tokens, tickets and rate limits."""

from datetime import datetime
from typing import Protocol

from helios.model.tokens import COMMAND_LINE, TicketHolder, Token


class Tokens(Protocol):
    """API tokens. Every method raises Retryable when the store can't be reached."""

    def add(self, digest: str, token: Token, *, actor: str = COMMAND_LINE) -> bool:
        """Store a new token and its audit log entry; False if a token of this name exists, even a revoked one."""

    def use(self, digest: str, now: datetime) -> Token | None:
        """The token with this digest, valid or not, as it was before this use; the use is recorded to the minute."""

    def all(self) -> list[Token]:
        """Every token that was ever created, the oldest first."""

    def revoke(self, name: str, now: datetime, *, actor: str = COMMAND_LINE) -> bool:
        """Revoke a token, and store the audit log entry; False if there is no valid token of this name."""


class Tickets(Protocol):
    """Tickets, each of which opens one WebSocket, once. Every method raises Retryable when they can't be reached."""

    def issue(self, holder: TicketHolder) -> str:
        """A ticket for this client; it is valid for TICKET_SECONDS."""

    def redeem(self, ticket: str) -> TicketHolder | None:
        """The client to whom a ticket was issued, the first time it is redeemed; None: the ticket is not valid."""


class RateLimit(Protocol):
    """The rate limit of each caller."""

    def wait_seconds(self, actor: str) -> int:
        """Count one request, and return 0 if it is within the limit, else the seconds to wait before the next."""
