"""The audit log: which user did what, and to what."""

from datetime import datetime
from typing import Literal

import msgspec

from helios.model.access import describe
from helios.model.tokens import Token

Action = Literal[
    "dead_letter_replayed",
    "replay_started",
    "replay_cancelled",
    "replay_finished",
    "token_created",
    "token_revoked",
    "erased",
    "flow_instances_resolved",
    "incident_acknowledged",
    "incident_snoozed",
    "incident_assigned",
    "flow_version_saved",
    "flow_version_previewed",
    "flow_version_approved",
    "flow_version_withdrawn",
    "recovery_started",
    "recovery_ended",
]


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the audit log: the actor, the action, and its subject."""

    at: datetime
    actor: str
    action: Action
    subject: str
    detail: str


def token_created(token: Token, actor: str) -> AuditEntry:
    """The entry for a new token."""
    limits = f" ({describe(token.visibility)})" if token.visibility.is_limited else ""
    detail = f"{', '.join(token.scopes)}{limits}, until {token.expires_at or 'it is revoked'}"
    return AuditEntry(
        at=token.created_at, actor=actor, action="token_created", subject=f"token {token.name}", detail=detail
    )


def token_revoked(name: str, actor: str, at: datetime) -> AuditEntry:
    """The entry for a revoked token."""
    return AuditEntry(at=at, actor=actor, action="token_revoked", subject=f"token {name}", detail="")
