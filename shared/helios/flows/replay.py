"""A dead letter through ingest once more, as it was or repaired."""

from collections.abc import Callable, Sequence
from datetime import datetime

from helios.errors import Rejected
from helios.event import Delivery, Outcome
from helios.ledger import MAX_DEAD_LETTER_BYTES
from helios.normalise import normalise
from helios.ports import EventStore
from helios.queries import Audited, KeptDeadLetter


def replay_dead_letter(
    kept: KeptDeadLetter,
    fixed: bytes | None,
    *,
    ingest: Callable[[Sequence[Delivery]], Sequence[Outcome]],
    store: EventStore,
    who: str,
    now: datetime,
) -> Outcome:
    """Take a rejected delivery in again; doing so twice stores its event once.

    A process that dies between the two transactions leaves the event stored and the letter unmarked: replaying it
    again finds a duplicate, and marks it.

    Args:
        kept: a rejected letter.
        fixed: the body to read in place of the one that was received, if any.
        ingest: stores deliveries.
        store: where the letter is marked, and the audit log kept.
        who: asked for it.
        now: when.

    Raises:
        Rejected: it still can't be read; nothing was stored or counted.
        Retryable: nothing is certain; asking again is safe.
    """
    letter = kept.letter
    if fixed is None and len(letter.body) >= MAX_DEAD_LETTER_BYTES:
        raise Rejected("was cut when it was kept: send the whole one", field="body")
    body = letter.body if fixed is None else fixed
    delivery = Delivery(way_in=letter.way_in, body=body, headers=letter.headers, received_at=now)
    normalise(delivery)
    (outcome,) = ingest([delivery])
    repaired = "as it was" if fixed is None else "with another body"
    line = Audited(
        at=now,
        who=who,
        action="dead_letter_replayed",
        subject=f"dead letter {kept.id}",
        detail=f"{repaired}: {outcome.status}",
    )
    with store.transaction() as transaction:
        if outcome.status == "stored" or outcome.status == "duplicate":  # noqa: PLR1714 - mypy narrows by == only
            transaction.mark_replayed(kept.id, outcome.status, now)
        transaction.audit(line)
    return outcome
