"""What replaying a dead letter promises, on every store that Helios ships."""

from datetime import timedelta
from functools import partial

import msgspec
import pytest

from helios.adapters.memory import NoSeen
from helios.errors import Rejected
from helios.flows.ingest import ingest
from helios.flows.replay import replay_dead_letter
from helios.ledger import MAX_DEAD_LETTER_BYTES
from helios.queries import DeadLetterFilter
from tests.support.deliveries import NOON, eventbridge, poison

LATER = NOON + timedelta(hours=1)


def buried(store, delivery):
    ingest([delivery], seen=NoSeen(), store=store)
    return store.dead_letters(DeadLetterFilter(), after=None, limit=1).items[0]


def replay(store, kept, fixed=None):
    take_in = partial(ingest, seen=NoSeen(), store=store)
    return replay_dead_letter(kept, fixed, ingest=take_in, store=store, who="ann", now=LATER)


def test_a_repaired_letter_becomes_its_event_and_is_marked(store):
    kept = buried(store, poison())

    assert replay(store, kept, eventbridge("1").body).status == "stored"

    marked = store.dead_letter(kept.id)
    assert (marked.replayed_as, marked.replayed_at) == ("stored", LATER)
    assert marked.letter.body == b"{"
    assert store.event(("aws", "1")).received_at == LATER


def test_replaying_twice_stores_once_and_keeps_the_first_mark(store):
    kept = buried(store, poison())
    replay(store, kept, eventbridge("1").body)

    assert replay(store, kept, eventbridge("1").body).status == "duplicate"
    assert store.dead_letter(kept.id).replayed_as == "stored"


def test_a_letter_left_unmarked_by_a_crash_is_marked_by_the_next_replay(store):
    """The event is stored, and the process dies before the letter is marked."""
    kept = buried(store, poison())
    ingest([eventbridge("1")], seen=NoSeen(), store=store)

    replay(store, kept, eventbridge("1").body)

    assert store.dead_letter(kept.id).replayed_as == "duplicate"


def test_what_still_cannot_be_read_changes_nothing(store):
    kept = buried(store, poison())
    before = store.totals(LATER)

    with pytest.raises(Rejected):
        replay(store, kept)

    assert store.dead_letter(kept.id) == kept
    assert store.totals(LATER) == before
    assert store.audit_log(limit=10) == []


def test_a_letter_that_was_cut_needs_its_whole_body(store):
    kept = buried(store, poison(b"{" + b" " * MAX_DEAD_LETTER_BYTES))

    with pytest.raises(Rejected, match="was cut"):
        replay(store, kept)

    assert replay(store, kept, eventbridge("1").body).status == "stored"


def test_a_repair_that_contradicts_is_not_believed(store):
    ingest([eventbridge("1")], seen=NoSeen(), store=store)
    kept = buried(store, poison())

    assert replay(store, kept, eventbridge("1", detail={"amount": 99}).body).status == "contradictory"
    assert store.dead_letter(kept.id).replayed_at is None


def test_each_replay_is_in_the_audit_log_the_last_first(store):
    kept = buried(store, poison())
    replay(store, kept, eventbridge("1").body)
    replay(store, kept, eventbridge("1").body)

    lines = store.audit_log(limit=10)

    assert [line.detail for line in lines] == ["with another body: duplicate", "with another body: stored"]
    assert msgspec.structs.asdict(lines[0]) == {
        "at": LATER,
        "who": "ann",
        "action": "dead_letter_replayed",
        "subject": f"dead letter {kept.id}",
        "detail": "with another body: duplicate",
    }
    assert len(store.audit_log(limit=1)) == 1
