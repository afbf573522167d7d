"""Notifications about incidents: who receives them, and the messages that carry them."""

from datetime import datetime
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from helios.model.incidents import SEVERITIES, IncidentKind, Severity, Transition

ReceiverKind = Literal["webhook", "slack", "teams", "pagerduty", "mail"]
RECEIVER_KINDS: tuple[ReceiverKind, ...] = get_args(ReceiverKind)

NEVER_DIGESTED: tuple[ReceiverKind, ...] = ("pagerduty",)
"""The kinds that have an incident of their own for each incident, so that a digest has no meaning there."""

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


class ReceiverDeclaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receiver of notifications.

    Attributes:
        name: its name, in routes, in HELIOS_NOTIFICATION_SECRETS and in the log.
        kind: how it is notified: ``webhook`` by Standard Webhooks, the others by Apprise.
        url: the URL of a webhook. That of every other kind is a secret.
        private: whether its host may have an address of a private network.
    """

    name: Name
    kind: ReceiverKind
    url: str | None = None
    private: bool = False


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which incidents some receivers are notified of. Empty means any.

    Attributes:
        to: the names of the receivers.
        kind: only incidents of these kinds.
        flow: only incidents of these flows.
        source: only incidents of these sources.
        severity: only incidents that are at least as severe.
    """

    to: Annotated[tuple[str, ...], Meta(min_length=1)]
    kind: tuple[IncidentKind, ...] = ()
    flow: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    severity: Severity = "info"

    def takes(self, transition: Transition) -> bool:
        """Whether the receivers are notified of this transition."""
        incident = transition.incident
        cause = incident.cause
        return (
            (not self.kind or cause.kind in self.kind)
            and (not self.flow or cause.flow in self.flow)
            and (not self.source or cause.source in self.source)
            and SEVERITIES.index(incident.severity) >= SEVERITIES.index(self.severity)
        )


class Notifications(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the file of notifications.

    Attributes:
        digest_above: how many messages a minute a receiver gets. Further transitions come as digests, one a minute.
        receiver: the receivers.
        route: the routes; a receiver gets a transition once, however many routes lead to it.
    """

    digest_above: Annotated[int, Meta(ge=1, le=1000)] = 10
    receiver: tuple[ReceiverDeclaration, ...] = ()
    route: tuple[Route, ...] = ()

    def receivers_of(self, transition: Transition) -> list[str]:
        """The names of the receivers that are notified of a transition, in the order of their declaration."""
        names = {name for route in self.route if route.takes(transition) for name in route.to}
        return [receiver.name for receiver in self.receiver if receiver.name in names]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message to one receiver.

    Attributes:
        receiver: the name of the receiver.
        id: its identity, the same at each attempt.
        transitions: what it is about, in order; none: a test.
        is_digest: whether it is a digest, which may be about one transition only.
        attempts: the attempts so far, this one included.
    """

    receiver: str
    id: str
    transitions: tuple[Transition, ...] = ()
    is_digest: bool = False
    attempts: int = 1


class MessageState(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a message.

    Attributes:
        receiver: the name of the receiver.
        id: the identity of the message.
        state: ``waiting`` for its next attempt, ``sent``, or ``failed`` for good.
        transitions: the number of transitions that it is about.
        attempts: the attempts so far.
        created_at: when it was made, UTC.
        due_at: when it is sent next, UTC.
        error: why the last attempt failed.
    """

    receiver: str
    id: str
    state: Literal["waiting", "sent", "failed"]
    transitions: int
    attempts: int
    created_at: datetime
    due_at: datetime
    error: str | None
