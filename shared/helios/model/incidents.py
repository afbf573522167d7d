"""Incidents: one for each cause, however many flow instances or deliveries it concerns."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal, NamedTuple, cast, get_args

import msgspec
from msgspec import Meta

from helios.model.audit import Action, AuditEntry
from helios.model.dead_letters import DeadLetter
from helios.model.flows import Assignee, FlowIssue, Money
from helios.model.sources import Source

IncidentKind = Literal["flow", "silence", "dead_letters", "consumer", "drift"]
INCIDENT_KINDS: tuple[IncidentKind, ...] = get_args(IncidentKind)

Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the least to the most severe: the severities of PagerDuty's Events API v2."""

SEVERITY_OF: dict[IncidentKind, Severity] = {
    "flow": "error",
    "silence": "critical",
    "dead_letters": "warning",
    "consumer": "critical",
    "drift": "error",
}

IncidentState = Literal["open", "resolved"]

FAILED_FOR = timedelta(hours=1)
"""How long a notification that was given up counts as one that fails, so that an alarm starts, and ends."""


class Attention(msgspec.Struct, frozen=True, kw_only=True):
    """What operators have to know of incidents, for metrics and alarms.

    Attributes:
        incidents: the number of open incidents by severity, without the snoozed ones; a severity without any is there
            too.
        failing: the number of notifications that fail, by receiver: those that wait for another attempt, and those that
            were given up within FAILED_FOR.
    """

    incidents: Mapping[Severity, int]
    failing: Mapping[str, int]

    @property
    def serious(self) -> int:
        """The number of incidents that are an alarm: those of the severity error or critical."""
        return self.incidents["error"] + self.incidents["critical"]


MAX_REASON_CHARS = 120
"""Length to which the reason of dead letters is cut in their cause."""

_VALUES = re.compile(r"'(?:[^'\\]|\\.)*'…?|\"(?:[^\"\\]|\\.)*\"…?|\d+(?:[.:]\d+)*")
"""What a reason quotes of one delivery: text in quotation marks, and numbers."""


class Cause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an incident is about. Two incidents with an equal cause are never open at the same time.

    Attributes:
        kind: ``flow``: an issue that decides the verdict of instances of a flow. ``silence``: a source that is silent.
            ``dead_letters``: deliveries that do not become events for one reason. ``consumer``: a consumer of the
            stream that does not advance. ``drift``: events that were published and have not arrived.
        flow: the name of the flow.
        issue: the kind of the issue; of dead letters their status.
        legs: the legs that the issue concerns.
        field: the field at fault.
        source: the source that is silent, that sends the deliveries, or whose events are missing.
        reason: the reason of the dead letters, without the values that it quotes; None: any reason that has no incident
            of its own.
        consumer: the name of the consumer.
        type: the type of the missing events; None: any type that has no incident of its own.
    """

    kind: IncidentKind
    flow: str | None = None
    issue: str | None = None
    legs: tuple[str, ...] = ()
    field: str | None = None
    source: Source | None = None
    reason: str | None = None
    consumer: str | None = None
    type: str | None = None

    @property
    def key(self) -> str:
        """The cause as text, by which it is stored and compared."""
        return msgspec.json.encode(self).decode()


def cause_of(key: str) -> Cause:
    """The cause with this key."""
    return msgspec.json.decode(key, type=Cause)


def flow_cause(flow: str, issue: FlowIssue) -> Cause:
    """The cause of an issue, of whatever kind: its values differ between instances, its kind, legs and field do not."""
    return Cause(kind="flow", flow=flow, issue=issue.kind, legs=tuple(issue.legs), field=issue.field)


def dead_letter_cause(dead_letter: DeadLetter) -> Cause:
    """The cause of a dead letter: its reason without the values that it quotes."""
    return Cause(
        kind="dead_letters",
        source=dead_letter.source,
        issue=dead_letter.status,
        field=dead_letter.field,
        reason=_VALUES.sub("…", dead_letter.reason)[:MAX_REASON_CHARS],
    )


def drift_cause(source: Source, type_: str) -> Cause:
    """The cause of missing events of one type."""
    return Cause(kind="drift", source=source, type=type_)


class CauseCount(NamedTuple):
    """What was added to a cause, or taken from it.

    Attributes:
        key: the key of the cause.
        slot: the beginning of the ten minutes in which the flow instances opened, the deliveries arrived, or the
            missing events happened.
        currency: the currency of the amount; empty if it is unknown.
        number: the number of instances, deliveries or missing events; negative if more were repaired or resolved than
            broken.
        amount: the sum of the amounts of the instances.
    """

    key: str
    slot: datetime
    currency: str
    number: int
    amount: Decimal


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """An incident.

    Attributes:
        id: ascending in the order in which incidents were opened.
        cause: what it is about.
        title: the cause in words.
        severity: how severe it is.
        opened_at: when it was opened, UTC.
        seen_at: when its cause was last seen, or the last of its instances was repaired or resolved, UTC.
        resolved_at: when it was resolved, UTC; None while it is open.
        resolution: why it was resolved.
        number: the flow instances that are broken by the cause and were neither repaired nor resolved by a person; of
            dead letters, the deliveries; of a drift, the events that are still missing.
        amounts: the amounts of these instances, by currency.
        since: when the first of them opened, rounded down to ten minutes; None if there is none.
        until: when the last of them opened, rounded up to ten minutes.
        acknowledged_by: the user who acknowledged it.
        acknowledged_at: when that was, UTC.
        snoozed_until: until when it is snoozed, UTC.
        assignee: the person or team to whom it is assigned.
    """

    id: int
    cause: Cause
    title: str
    severity: Severity
    opened_at: datetime
    seen_at: datetime
    resolved_at: datetime | None = None
    resolution: str | None = None
    number: int = 0
    amounts: list[Money] = []
    since: datetime | None = None
    until: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    snoozed_until: datetime | None = None
    assignee: str | None = None

    @property
    def key(self) -> str:
        """The identity of the incident outside Helios: no incident of another database has it."""
        return f"incident-{self.id}-{self.opened_at:%Y%m%dT%H%M%S%fZ}"

    @property
    def subject(self) -> str:
        """The subject of the incident in the audit log."""
        return f"incident {self.id}"


class IncidentLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Which incidents a caller may see. None means any; an empty tuple means none.

    Attributes:
        flows: those of these flows.
        sources: the silence of these sources.
        dead_letters: the dead letters, and the missing events, of these sources.
        consumers: whether those of consumers, which are about all events.
    """

    flows: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    dead_letters: tuple[str, ...] | None = None
    consumers: bool = True

    def allows(self, cause: Cause) -> bool:
        """Whether the caller may see an incident with this cause."""
        match cause.kind:
            case "flow":
                return self.flows is None or cause.flow in self.flows
            case "silence":
                return self.sources is None or cause.source in self.sources
            case "dead_letters" | "drift":
                return self.dead_letters is None or cause.source in self.dead_letters
            case "consumer":
                return self.consumers


class IncidentFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which incidents; None and empty mean any.

    Attributes:
        state: whether they are open or resolved.
        kind: their cause is of one of these kinds.
        flow: they are about this flow.
        source: they are about this source.
        snoozed: whether they are snoozed at ``now``.
        now: the moment of ``snoozed``.
        limits: what the caller may see.
    """

    state: IncidentState | None = None
    kind: tuple[IncidentKind, ...] = ()
    flow: str | None = None
    source: str | None = None
    snoozed: bool | None = None
    now: datetime | None = None
    limits: IncidentLimits = IncidentLimits()


class Snooze(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to snooze an incident; ``until`` None ends the snooze."""

    until: Annotated[datetime, Meta(tz=True)] | None


class Assign(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to assign an incident to a person or team; None to nobody."""

    assignee: Assignee | None


class Acknowledge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to acknowledge an incident, or to withdraw that."""

    acknowledged: bool = True


IncidentAction = Acknowledge | Snooze | Assign


TransitionKind = Literal["opened", "reminded", "resolved"]


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """A change of an incident of which its receivers are notified.

    Attributes:
        what: ``opened``, ``resolved``, or ``reminded``: a snooze is over and the incident is still open.
        at: when, UTC.
        incident: the incident after the change.
    """

    what: TransitionKind
    at: datetime
    incident: Incident

    @property
    def key(self) -> str:
        """The identity of the transition, the same however often it is sent."""
        again = f"-{self.at:%Y%m%dT%H%M%SZ}" if self.what == "reminded" else ""
        return f"{self.incident.key}-{self.what}{again}"


def audit_entry(incident: Incident, action: IncidentAction, *, actor: str, at: datetime) -> AuditEntry:
    """The audit log entry for what a user did to an incident."""
    match action:
        case Acknowledge():
            name, detail = "incident_acknowledged", "" if action.acknowledged else "withdrawn"
        case Snooze():
            name, detail = "incident_snoozed", f"until {action.until:%Y-%m-%d %H:%M:%SZ}" if action.until else "ended"
        case Assign():
            name, detail = "incident_assigned", f"to {action.assignee or 'nobody'}"
    detail = "; ".join(part for part in (incident.title, detail) if part)
    return AuditEntry(at=at, actor=actor, action=cast("Action", name), subject=incident.subject, detail=detail)
