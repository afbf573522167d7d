"""Says why a leg of a flow instance is missing, from what Helios stores and from what recoveries have found."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from helios.model.access import EventLimits
from helios.model.dead_letters import DeadLetterFilter, StoredDeadLetter
from helios.model.erasure import mentions
from helios.model.flows import FlowInstance
from helios.model.recoveries import Diagnosis, Recovery
from helios.model.sources import Source
from helios.ports.dead_letters import DeadLetterReader
from helios.reconciliation.declaration import Flow
from helios.reconciliation.leg import Leg
from helios.sources.registry import CLOUDS

MARGIN: Final = timedelta(hours=1)
"""How much earlier than the first event of an instance another one may have been published, at least."""

MAX_DEAD_LETTERS: Final = 20
"""The most dead letters that a diagnosis names."""

NO_LIMITS: Final = EventLimits()

SETTING: Final = "HELIOS_RECOVERY_PLACES"

PlaceNames = Mapping[Source, Sequence[str]]
"""The names of the configured places by cloud."""


def published_since(flow: Flow, instance_opened_at: datetime) -> datetime:
    """The time from which the events of an instance may have been published."""
    return instance_opened_at - max(timedelta(seconds=flow.window_seconds + flow.grace_seconds), MARGIN)


def missing_legs(flow: Flow, instance: FlowInstance) -> list[Leg]:
    """The legs of an instance that are missing, wholly or in part, in the order of their declaration."""
    missing = {leg.name for leg in instance.legs if leg.state == "missing"}
    return [leg for leg in flow.leg if leg.name in missing]


def diagnose(
    flow: Flow,
    instance: FlowInstance,
    *,
    reader: DeadLetterReader,
    recoveries: Iterable[Recovery],
    places: PlaceNames,
    limits: EventLimits = NO_LIMITS,
    show: Callable[[StoredDeadLetter], StoredDeadLetter] = lambda stored: stored,
) -> list[Diagnosis]:
    """The reason for each missing leg. Nothing is asked of a cloud.

    Args:
        flow: the flow of the instance.
        instance: the instance.
        reader: the dead letters of Helios.
        recoveries: those of the instance, the newest first.
        places: where a recovery would look.
        limits: which dead letters the caller may see.
        show: masks a dead letter for the caller.

    Raises:
        Retryable: the store can't be reached.
    """
    past = list(recoveries)
    diagnoses = []
    for leg in missing_legs(flow, instance):
        refused = refusals(flow, leg, instance, reader=reader, limits=limits)
        names = [name for source, of_source in places.items() if leg.source in {None, source} for name in of_source]
        last = next((each for each in past if each.leg == leg.name and each.state in {"not_found", "refused"}), None)
        if refused:
            diagnoses.append(_refused(leg, show(refused[0]), [stored.id for stored in refused], names))
        elif last:
            diagnoses.append(_found(leg, last, names))
        else:
            diagnoses.append(_unknown(leg, names))
    return diagnoses


def refusals(
    flow: Flow,
    leg: Leg,
    instance: FlowInstance,
    *,
    reader: DeadLetterReader,
    limits: EventLimits = NO_LIMITS,
) -> list[StoredDeadLetter]:
    """The dead letters of Helios that may be a leg, the newest first.

    A dead letter may be unreadable, so that it is searched as text: it has the key of the instance as a word, and the
    type of the leg, or that of no leg at all.

    Args:
        flow: the flow of the leg.
        leg: the leg.
        instance: the instance.
        reader: the dead letters.
        limits: which dead letters the caller may see.
    """
    where = DeadLetterFilter(
        source=leg.source,
        since=published_since(flow, instance.opened_at),
        replayed=False,
        mentions=instance.key,
        limits=limits,
    )
    page = reader.dead_letters(where, after=None, limit=MAX_DEAD_LETTERS)
    others = [other.type for other in flow.leg if other.type != leg.type]
    return [stored for stored in page.items if _may_be(stored, instance.key, leg.type, others)]


def _may_be(stored: StoredDeadLetter, key: str, type_: str, others: Sequence[str]) -> bool:
    body = stored.dead_letter.body
    is_cut = stored.body_bytes > len(body)
    if not is_cut and not mentions(body, key):
        return False
    text = body + b"\n" + "\n".join(stored.dead_letter.headers.values()).encode()
    return mentions(text, type_) or not any(mentions(text, other) for other in others)


def _refused(leg: Leg, stored: StoredDeadLetter, numbers: list[int], places: list[str]) -> Diagnosis:
    fault = stored.dead_letter
    return Diagnosis(
        leg=leg.name,
        type=leg.type,
        source=leg.source,
        finding="refused",
        found_in=stored.subject,
        detail=f"Helios received it and refused it: {fault.field} {fault.reason}. Fix and replay the dead letter.",
        dead_letters=numbers,
        places=places,
    )


def _found(leg: Leg, last: Recovery, places: list[str]) -> Diagnosis:
    return Diagnosis(
        leg=leg.name,
        type=leg.type,
        source=leg.source,
        finding=last.finding or "unknown",
        found_in=last.found_in,
        detail=last.detail,
        dead_letters=[],
        places=places,
        as_of=last.ended_at,
    )


def _unknown(leg: Leg, places: list[str]) -> Diagnosis:
    return Diagnosis(
        leg=leg.name,
        type=leg.type,
        source=leg.source,
        finding="unknown",
        found_in=None,
        detail=how_to_know(leg.source, places),
        dead_letters=[],
        places=places,
    )


def how_to_know(source: Source | None, places: Sequence[str]) -> str:
    """What has to be done, or configured, to learn why a leg of a source is missing."""
    if places:
        return "No dead letter has this event. Start a recovery to search the places of its cloud."
    if source is not None and source not in CLOUDS:
        return f"No dead letter has this event. {source} is no cloud: ask its sender to send the event again."
    return f"No dead letter has this event. To search {source or 'a cloud'} for it, name places in {SETTING}."
