"""API tokens and their scopes; of a token only a digest is stored."""

import hashlib
import secrets
from datetime import datetime
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from helios.model.access import EVERYTHING, Visibility

Scope = Literal["read", "replay", "resolve", "rules", "admin"]
"""``read``: every query and the live stream. ``replay``: also replays. ``resolve``: also works on incidents. ``rules``:
also edits and approves flows. ``admin``: everything."""

SCOPES: tuple[Scope, ...] = get_args(Scope)

PREFIX = "helios_"
"""The prefix of every token, by which secret scanners find leaked tokens."""

TICKET_SECONDS = 30
"""How long a WebSocket ticket is valid."""

COMMAND_LINE = "command line"
"""The actor in the audit log for actions of the command line, which does not know its user."""

TokenName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")]


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is stored, without its secret.

    Attributes:
        name: the name of its owner, which is the actor in the audit log.
        scopes: what the token may be used for.
        visibility: what a token with the scopes ``read`` and ``resolve`` lets its holder see, and change.
        created_at: when it was created, UTC.
        expires_at: from when on it is invalid; None: it does not expire.
        revoked_at: when it was revoked; None: it is not revoked.
        last_used_at: when it was last used, to the minute; None: never.
    """

    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    visibility: Visibility = EVERYTHING

    def is_valid(self, now: datetime) -> bool:
        """Whether the token is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class TicketHolder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The client to whom a ticket was issued.

    Attributes:
        name: the name of the client.
        visibility: what the client may see.
    """

    name: str
    visibility: Visibility = EVERYTHING


def mint() -> str:
    """A new token: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """The digest of a token that is stored: 64 hex digits.

    A plain SHA-256 is enough, and no slow password hash is needed: 256 random bits can't be guessed.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def grants(scopes: tuple[Scope, ...], scope: Scope) -> bool:
    """Whether the scopes include this scope: ``admin`` includes all, and every scope includes ``read``."""
    return "admin" in scopes or scope in scopes or (scope == "read" and bool(scopes))
