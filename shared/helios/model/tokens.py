"""Who may ask: bearer tokens, of which only a digest is kept, and what each opens."""

import hashlib
import secrets
from datetime import datetime
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

Scope = Literal["read", "replay", "admin"]
"""``read``: every query and the live stream. ``replay``: also taking in again. ``admin``: everything."""

SCOPES: tuple[Scope, ...] = get_args(Scope)

PREFIX = "helios_"
"""What a token begins with, so that a scanner of secrets finds one that has got away."""

TICKET_SECONDS = 30
"""How long a WebSocket ticket is good for."""

COMMAND_LINE = "command line"
"""Who makes and revokes tokens, as the audit log says it, where the command does not know who uses it."""

TokenName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")]


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is kept, without what it takes to use it.

    Attributes:
        name: whose it is; what the audit log says of who did something.
        scopes: what it opens.
        created_at: when, UTC.
        expires_at: it opens nothing from then on; None: never.
        revoked_at: when it was taken back; None: it was not.
        last_used_at: to the minute; None: never.
    """

    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether it opens anything at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def mint() -> str:
    """A new token: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is kept of a token: 64 hex digits.

    A plain SHA-256, and no slow hash for passwords: nobody guesses 256 random bits.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def grants(scopes: tuple[Scope, ...], wanted: Scope) -> bool:
    """Whether these scopes hold the wanted one."""
    if "admin" in scopes:
        return True
    return wanted in scopes or (wanted == "read" and "replay" in scopes)
