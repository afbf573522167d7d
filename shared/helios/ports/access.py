"""Tokens, tickets and rate limits."""

from datetime import datetime
from typing import Protocol

from helios.model.tokens import COMMAND_LINE, Token


class Tokens(Protocol):
    """Who may ask. Every method raises Retryable when that can't be known."""

    def add(self, digest: str, token: Token, *, actor: str = COMMAND_LINE) -> bool:
        """Keep a new token, and the audit log's line of it; False if its name is taken, though by a revoked one."""

    def use(self, digest: str, now: datetime) -> Token | None:
        """The token with this digest, valid or not, as it was before; it is marked as used, to the minute."""

    def all(self) -> list[Token]:
        """Every token that was ever made, the oldest first."""

    def revoke(self, name: str, now: datetime, *, actor: str = COMMAND_LINE) -> bool:
        """Take a token back, with the audit log's line; False if there is none that still opens anything."""


class Tickets(Protocol):
    """What opens one WebSocket, once and soon. Every method raises Retryable when that can't be known."""

    def issue(self, name: str) -> str:
        """A ticket for whoever has this name; it is good for TICKET_SECONDS."""

    def redeem(self, ticket: str) -> str | None:
        """Whose ticket it is, the first time that anybody asks; None: it opens nothing."""


class RateLimit(Protocol):
    """How often somebody may ask."""

    def wait_seconds(self, actor: str) -> int:
        """Count one question; 0 if it may be answered, else how long to wait before the next one."""

    def spent_seconds(self, actor: str) -> int:
        """Count nothing; 0 if a question might be answered now, else how long to wait."""
