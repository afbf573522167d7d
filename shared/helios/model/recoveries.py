"""Recoveries: why a leg of a flow instance is missing, and the attempts to bring it back from a cloud."""

from datetime import datetime
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from helios.model.audit import AuditEntry
from helios.model.resolutions import FlowName, InstanceKey
from helios.model.sources import Source

Finding = Literal["never_reached_bus", "not_delivered", "refused", "unknown"]
"""Why a leg is missing: its event never reached the bus; it did, and Helios did not get it; Helios got and refused it;
or nothing is known, because no configured place can tell."""

FINDINGS: tuple[Finding, ...] = get_args(Finding)

RecoveryState = Literal["running", "recovered", "not_found", "refused", "failed"]


class PlaceSearch(msgspec.Struct, frozen=True, kw_only=True):
    """What a recovery has found in one place.

    Attributes:
        place: the name of the place.
        is_over: whether the place has been searched; it may take minutes.
        found: the number of events of the leg that were brought back; those that were stored before are not counted.
        found_at: when the last of them was brought back, UTC; None: none was.
        is_complete: whether the place holds every event of the period that reached the bus, so that one that it does
            not hold has never reached it.
        redelivers: whether the cloud itself delivers what it finds to Helios, so that nothing is counted in ``found``.
        detail: what happened, in words.
    """

    place: str
    is_over: bool = True
    found: int = 0
    found_at: datetime | None = None
    is_complete: bool = False
    redelivers: bool = False
    detail: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """Why one leg of a flow instance is missing.

    Attributes:
        leg: the name of the leg.
        type: the event type that belongs to the leg.
        source: the source that should have sent it; None: any source may.
        finding: the reason.
        found_in: what says so: a dead letter of Helios, or a place in a cloud; None if the reason is unknown.
        detail: the reason in words, or what would have to be configured to know.
        dead_letters: the ids of the dead letters of Helios that may be the leg, the newest first.
        places: where a recovery would look for the leg.
        as_of: when a recovery found the reason, UTC; None: it follows from what Helios stores now.
    """

    leg: str
    type: str
    source: Source | None
    finding: Finding
    found_in: str | None
    detail: str
    dead_letters: list[int]
    places: list[str]
    as_of: datetime | None = None


class RecoveryRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bring back one missing leg of one flow instance.

    Attributes:
        flow: the flow.
        key: the key of the instance.
        leg: the name of the leg.
    """

    flow: FlowName
    key: InstanceKey
    leg: Annotated[str, Meta(min_length=1, max_length=40)]


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to bring back a missing leg.

    Attributes:
        id: ascending in the order of the requests.
        flow: the flow.
        key: the key of the instance.
        leg: the name of the leg.
        actor: the person or token that asked for it, or the policy of the flow.
        is_automatic: whether the policy of the flow asked for it.
        requested_at: when, UTC.
        state: ``recovered``: the leg is present. ``not_found``: no configured place has it. ``refused``: a place has
            it, and Helios refuses it. ``failed``: no place could be searched in time.
        finding: why the leg was missing; None while the attempt runs.
        found_in: the place or the dead letter that has the event.
        detail: the outcome in words.
        searches: what was found in each place so far.
        ended_at: when the attempt ended, UTC; None: it runs.
    """

    id: int
    flow: str
    key: str
    leg: str
    actor: str
    is_automatic: bool
    requested_at: datetime
    state: RecoveryState = "running"
    finding: Finding | None = None
    found_in: str | None = None
    detail: str = ""
    searches: tuple[PlaceSearch, ...] = ()
    ended_at: datetime | None = None


def started(recovery: Recovery) -> AuditEntry:
    """The entry of the audit log for a new attempt. It quotes no key, which may have to be erased one day."""
    return AuditEntry(
        at=recovery.requested_at,
        actor=recovery.actor,
        action="recovery_started",
        subject=f"recovery {recovery.id}",
        detail=f"leg {recovery.leg} of one instance of the flow {recovery.flow}",
    )


def ended(recovery: Recovery, at: datetime) -> AuditEntry:
    """The entry of the audit log for the end of an attempt."""
    found = f", found in {recovery.found_in}" if recovery.found_in else ""
    return AuditEntry(
        at=at,
        actor=recovery.actor,
        action="recovery_ended",
        subject=f"recovery {recovery.id}",
        detail=f"{recovery.state}{found}",
    )
