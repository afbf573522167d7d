"""Tokens and tickets in dictionaries, for a Helios in one process."""

import secrets
from datetime import datetime

import msgspec

from helios.model.audit import AuditEntry, token_created, token_revoked
from helios.model.tokens import COMMAND_LINE, TicketHolder, Token


class MemoryTokens:
    """Implements ``Tokens``, with its audit entries.

    Attributes:
        audit_entries: an entry for each created and each revoked token.
    """

    def __init__(self) -> None:
        self._by_digest: dict[str, Token] = {}
        self.audit_entries: list[AuditEntry] = []

    def add(self, digest: str, token: Token, *, actor: str = COMMAND_LINE) -> bool:
        """Store a new token. False if its name is taken, even by a revoked token."""
        if any(stored.name == token.name for stored in self._by_digest.values()):
            return False
        self._by_digest[digest] = token
        self.audit_entries.append(token_created(token, actor))
        return True

    def use(self, digest: str, now: datetime) -> Token | None:
        """The token with this digest, valid or not, in its state before this use. Marks the token as used."""
        token = self._by_digest.get(digest)
        if token:
            minute = now.replace(second=0, microsecond=0)
            self._by_digest[digest] = msgspec.structs.replace(token, last_used_at=minute)
        return token

    def all(self) -> list[Token]:
        """Every token ever created, oldest first."""
        return sorted(self._by_digest.values(), key=lambda token: (token.created_at, token.name))

    def revoke(self, name: str, now: datetime, *, actor: str = COMMAND_LINE) -> bool:
        """Revoke a token. False if no token of this name is unrevoked."""
        for digest, token in self._by_digest.items():
            if token.name == name and token.revoked_at is None:
                self._by_digest[digest] = msgspec.structs.replace(token, revoked_at=now)
                self.audit_entries.append(token_revoked(name, actor, now))
                return True
        return False


class MemoryTickets:
    """Implements ``Tickets``. A ticket is valid until it is redeemed."""

    def __init__(self) -> None:
        self._holders: dict[str, TicketHolder] = {}

    def issue(self, holder: TicketHolder) -> str:
        """A ticket for this client."""
        ticket = secrets.token_urlsafe(32)
        self._holders[ticket] = holder
        return ticket

    def redeem(self, ticket: str) -> TicketHolder | None:
        """The ticket's client at the first call. None if the ticket is unknown or already redeemed."""
        return self._holders.pop(ticket, None)
