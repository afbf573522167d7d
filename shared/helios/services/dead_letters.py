"""A dead letter through ingest once more, as it was or repaired."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from helios.errors import DEFECTS, HeliosError, Rejected
from helios.model.audit import AuditEntry
from helios.model.dead_letters import MAX_DEAD_LETTER_BYTES, StoredDeadLetter
from helios.model.events import Delivery, Key, Outcome
from helios.normalise import normalise, split
from helios.ports.unit_of_work import UnitOfWork
from helios.services.ingest import Ingest, internal_error_rejection

DONE = {"stored", "duplicate"}
"""What a delivery is called when it is an event."""

MAX_LISTED = 10
"""How many events a line of the audit log names."""


class AlreadyReplayed(HeliosError):  # noqa: N818 - reads as the fact it is
    """The dead letter has become other events than it would now; nothing was stored."""


def replay_dead_letter(
    kept: StoredDeadLetter,
    fixed: bytes | None,
    *,
    ingest: Ingest,
    actor: str,
    now: datetime,
    note: str = "",
) -> list[Outcome]:
    """Take a rejected delivery in again; doing so twice stores its events once.

    The events, the letter's mark and the line of the audit log are one transaction. A letter is marked when all that
    it carries became events, and becomes no others from then on.

    Args:
        kept: a rejected letter.
        fixed: the body to read in place of the one that was received, if any; an array is an event an element.
        ingest: stores deliveries.
        actor: asked for it.
        now: when.
        note: what the audit log is to say besides.

    Raises:
        Rejected: it still can't be read or stored; nothing was stored or counted.
        AlreadyReplayed: it has become other events; nothing was stored or counted.
        Retryable: nothing is certain; asking again is safe.
    """
    dead_letter = kept.dead_letter
    if fixed is None and len(dead_letter.body) >= MAX_DEAD_LETTER_BYTES:
        raise Rejected("was cut when it was kept: send the whole one", field="body")
    body = dead_letter.body if fixed is None else fixed
    deliveries = split(dead_letter.channel, body, dead_letter.headers, now)
    for number, delivery in enumerate(deliveries):
        _read(delivery, number if len(deliveries) > 1 else None)
    repaired = "as it was" if fixed is None else f"with another body, SHA-256 {hashlib.sha256(body).hexdigest()}"

    def mark(work: UnitOfWork, outcomes: Sequence[Outcome]) -> None:
        keys = sorted({outcome.event.key for outcome in outcomes if outcome.event})
        before = work.dead_letters.replayed(kept.id)
        if before is not None and before != keys:
            raise AlreadyReplayed(f"it has become {_listed(before)}, and would become {_listed(keys)} now")
        if before is None and {outcome.status for outcome in outcomes} <= DONE:
            new = any(outcome.status == "stored" for outcome in outcomes)
            work.dead_letters.mark_replayed(kept.id, "stored" if new else "duplicate", keys, now)
        work.audit.add(
            AuditEntry(
                at=now,
                actor=actor,
                action="dead_letter_replayed",
                subject=kept.subject,
                detail=f"fingerprint {dead_letter.fingerprint}, {repaired}: {_became(outcomes)}{note}",
            )
        )

    return ingest(deliveries, also_write=mark)


def _read(delivery: Delivery, number: int | None) -> None:
    """Return if a delivery can be read; the error says which one it is of several."""
    try:
        normalise(delivery)
    except Rejected as fault:
        place = "" if number is None else f"[{number}]."
        raise Rejected(fault.reason, field=f"{place}{fault.field}") from fault
    except DEFECTS as defect:
        raise internal_error_rejection(delivery, defect) from defect


def _became(outcomes: Sequence[Outcome]) -> str:
    named = [
        f"{outcome.status} {'/'.join(outcome.event.key) if outcome.event else outcome.reason}" for outcome in outcomes
    ]
    return _shortened(named)


def _listed(keys: Sequence[Key]) -> str:
    return _shortened(["/".join(key) for key in keys]) or "nothing that is known"


def _shortened(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more
