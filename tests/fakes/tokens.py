"""Tokens and tickets in dictionaries, beside the rest of a Helios in one process."""

import secrets
from datetime import datetime

import msgspec

from helios.model.audit import AuditEntry, token_created, token_revoked
from helios.model.tokens import COMMAND_LINE, Token


class MemoryTokens:
    """Keeps ``Tokens``, and its lines of the audit log.

    Attributes:
        audit_entries: who made and revoked what.
    """

    def __init__(self) -> None:
        self._by_digest: dict[str, Token] = {}
        self.audit_entries: list[AuditEntry] = []

    def add(self, digest: str, token: Token, *, actor: str = COMMAND_LINE) -> bool:
        """Keep a new token; False if its name is taken, though by one that was revoked."""
        if any(known.name == token.name for known in self._by_digest.values()):
            return False
        self._by_digest[digest] = token
        self.audit_entries.append(token_created(token, actor))
        return True

    def use(self, digest: str, now: datetime) -> Token | None:
        """The token with this digest, valid or not, as it was before; it is marked as used."""
        token = self._by_digest.get(digest)
        if token:
            minute = now.replace(second=0, microsecond=0)
            self._by_digest[digest] = msgspec.structs.replace(token, last_used_at=minute)
        return token

    def all(self) -> list[Token]:
        """Every token that was ever made, the oldest first."""
        return sorted(self._by_digest.values(), key=lambda token: (token.created_at, token.name))

    def revoke(self, name: str, now: datetime, *, actor: str = COMMAND_LINE) -> bool:
        """Take a token back; False if there is none of this name that still opens anything."""
        for digest, token in self._by_digest.items():
            if token.name == name and token.revoked_at is None:
                self._by_digest[digest] = msgspec.structs.replace(token, revoked_at=now)
                self.audit_entries.append(token_revoked(name, actor, now))
                return True
        return False


class MemoryTickets:
    """Keeps ``Tickets``; they are good until they are used."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def issue(self, name: str) -> str:
        """A ticket for whoever has this name."""
        ticket = secrets.token_urlsafe(32)
        self._names[ticket] = name
        return ticket

    def redeem(self, ticket: str) -> str | None:
        """Whose ticket it is, the first time that anybody asks; None: it opens nothing."""
        return self._names.pop(ticket, None)
