"""Replays a dead letter: sends its delivery through ingest again, unchanged or with a fixed body."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from helios.errors import DEFECTS, HeliosError, Rejected
from helios.model.audit import AuditEntry
from helios.model.dead_letters import MAX_DEAD_LETTER_BYTES, ReplayedAs, StoredDeadLetter
from helios.model.events import Delivery, Key, Outcome
from helios.normalise import normalise, split
from helios.ports.unit_of_work import UnitOfWork
from helios.services.ingest import Ingest
from helios.services.reading import internal_error_rejection
from helios.sources.registry import CLOUDS, Sources

DONE = {"stored", "duplicate", "accepted"}
"""The statuses of a delivery that became an event."""

MAX_LISTED = 10
"""Maximum number of events that an audit log entry names."""


class AlreadyReplayed(HeliosError):  # noqa: N818 - reads as the fact it is
    """An earlier replay of the dead letter became other events; nothing was stored."""


def replay_dead_letter(
    stored: StoredDeadLetter,
    fixed: bytes | None,
    *,
    ingest: Ingest,
    actor: str,
    now: datetime,
    sources: Sources = CLOUDS,
    note: str = "",
    accept: bool = False,
) -> list[Outcome]:
    """Ingest the delivery of a rejected dead letter again. Two replays store its events once.

    One transaction stores the events, marks the dead letter as replayed, and adds the audit log entry. A dead letter is
    marked once everything in it has become events; from then on it can't become other events.

    Args:
        stored: a dead letter with the status ``rejected``.
        fixed: the body to ingest instead of the received one; None: the received one. A JSON array has one event per
            element.
        ingest: stores deliveries.
        actor: the user who requested the replay.
        now: the time of the replay.
        sources: the sources, of which a declared one says how to read its deliveries.
        note: a text to append to the audit log entry.
        accept: store events that are beyond the identity horizon, although they may have been stored before.

    Raises:
        Rejected: the delivery still can't be read or stored; nothing was stored or counted.
        AlreadyReplayed: an earlier replay became other events; nothing was stored or counted.
        Retryable: the outcome is unknown. Repeating the replay is safe.
    """
    dead_letter = stored.dead_letter
    if fixed is None and len(dead_letter.body) >= MAX_DEAD_LETTER_BYTES:
        raise Rejected("was truncated when it was stored: send the whole body", field="body")
    body = dead_letter.body if fixed is None else fixed
    deliveries = split(dead_letter.channel, body, dead_letter.headers, now, sources.declared.get(dead_letter.source))
    if not deliveries:
        raise Rejected("is an empty array: send at least one event", field="body")
    for number, delivery in enumerate(deliveries):
        _read(delivery, number if len(deliveries) > 1 else None)
    accepted = ", beyond the identity horizon" if accept else ""
    body_note = "unchanged" if fixed is None else f"with a fixed body, SHA-256 {hashlib.sha256(body).hexdigest()}"

    def mark(work: UnitOfWork, outcomes: Sequence[Outcome]) -> None:
        keys = sorted({outcome.event.key for outcome in outcomes if outcome.event})
        earlier_keys = work.dead_letters.replayed(stored.id)
        if earlier_keys is not None and earlier_keys != keys:
            raise AlreadyReplayed(f"already replayed as {_listed(earlier_keys)}; this replay gives {_listed(keys)}")
        if earlier_keys is None and {outcome.status for outcome in outcomes} <= DONE:
            work.dead_letters.mark_replayed(stored.id, _replayed_as(outcomes), keys, now)
        work.audit.add(
            AuditEntry(
                at=now,
                actor=actor,
                action="dead_letter_replayed",
                subject=stored.subject,
                detail=f"fingerprint {dead_letter.fingerprint}, {body_note}{accepted}: {_results(outcomes)}{note}",
            )
        )

    return ingest(deliveries, also_write=mark, accept=accept)


def _replayed_as(outcomes: Sequence[Outcome]) -> ReplayedAs:
    """The outcome of a replay as a whole: that of its first event that is no duplicate."""
    statuses = {outcome.status for outcome in outcomes}
    return "accepted" if "accepted" in statuses else "stored" if "stored" in statuses else "duplicate"


def _read(delivery: Delivery, number: int | None) -> None:
    """Return if a delivery can be read. The error names its index if there are several."""
    try:
        normalise(delivery)
    except Rejected as fault:
        place = "" if number is None else f"[{number}]."
        raise Rejected(fault.reason, field=f"{place}{fault.field}") from fault
    except DEFECTS as defect:
        raise internal_error_rejection(delivery, defect) from defect


def _results(outcomes: Sequence[Outcome]) -> str:
    results = [
        f"{outcome.status} {'/'.join(outcome.event.key) if outcome.event else outcome.reason}" for outcome in outcomes
    ]
    return _shortened(results)


def _listed(keys: Sequence[Key]) -> str:
    return _shortened(["/".join(key) for key in keys]) or "no event"


def _shortened(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more
