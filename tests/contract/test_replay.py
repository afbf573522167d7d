"""What replaying a dead letter promises, on every store that Helios ships."""

from datetime import timedelta
from functools import partial
from hashlib import sha256

import msgspec
import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.audit import PostgresAuditWriter
from helios.adapters.postgres.events import PostgresEventWriter
from helios.errors import Rejected, Retryable
from helios.model.dead_letters import MAX_DEAD_LETTER_BYTES, DeadLetterFilter
from helios.model.events import Delivery
from helios.normalise import NORMALISERS
from helios.services.dead_letters import AlreadyReplayed, replay_dead_letter
from helios.services.ingest import ingest
from tests.fakes.store import MemoryAuditWriter, MemoryEventWriter
from tests.support.deliveries import NOON, eventbridge, eventgrid, poison

LATER = NOON + timedelta(hours=1)


def stored_dead_letters(store, delivery):
    ingest([delivery], dedupe=NullDedupeCache(), store=store)
    return store.dead_letters(DeadLetterFilter(), after=None, limit=1).items[0]


def replay(store, kept, fixed=None):
    (outcome,) = replays(store, kept, fixed)
    return outcome


def replays(store, kept, fixed=None):
    take_in = partial(ingest, dedupe=NullDedupeCache(), store=store)
    return replay_dead_letter(kept, fixed, ingest=take_in, actor="ann", now=LATER)


def test_a_repaired_letter_becomes_its_event_and_is_marked(store):
    kept = stored_dead_letters(store, poison())

    assert replay(store, kept, eventbridge("1").body).status == "stored"

    marked = store.dead_letter(kept.id)
    assert (marked.replayed_as, marked.replayed_at) == ("stored", LATER)
    assert marked.dead_letter.body == b"{"
    assert store.event(("aws", "1")).received_at == LATER


def test_replaying_twice_stores_once_and_keeps_the_first_mark(store):
    kept = stored_dead_letters(store, poison())
    replay(store, kept, eventbridge("1").body)

    assert replay(store, kept, eventbridge("1").body).status == "duplicate"
    assert store.dead_letter(kept.id).replayed_as == "stored"


def test_a_letter_left_unmarked_by_a_crash_is_marked_by_the_next_replay(store):
    """The event is stored, and the process dies before the letter is marked."""
    kept = stored_dead_letters(store, poison())
    ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=store)

    replay(store, kept, eventbridge("1").body)

    assert store.dead_letter(kept.id).replayed_as == "duplicate"


def test_what_still_cannot_be_read_changes_nothing(store):
    kept = stored_dead_letters(store, poison())
    before = store.totals(LATER)

    with pytest.raises(Rejected):
        replay(store, kept)

    assert store.dead_letter(kept.id) == kept
    assert store.totals(LATER) == before
    assert store.audit_log(limit=10).items == []


def test_a_letter_that_was_cut_needs_its_whole_body(store):
    kept = stored_dead_letters(store, poison(b"{" + b" " * MAX_DEAD_LETTER_BYTES))

    with pytest.raises(Rejected, match="was truncated"):
        replay(store, kept)

    assert replay(store, kept, eventbridge("1").body).status == "stored"


def test_a_repair_that_contradicts_is_not_believed(store):
    ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=store)
    kept = stored_dead_letters(store, poison())

    assert replay(store, kept, eventbridge("1", detail={"amount": 99}).body).status == "contradictory"
    assert store.dead_letter(kept.id).replayed_at is None


def test_each_replay_is_in_the_audit_log_the_last_first(store):
    kept = stored_dead_letters(store, poison())
    replay(store, kept, eventbridge("1").body)
    replay(store, kept, eventbridge("1").body)

    page = store.audit_log(limit=1)
    rest = store.audit_log(after=page.next_cursor, limit=1)

    body = f"with a fixed body, SHA-256 {sha256(eventbridge('1').body).hexdigest()}"
    assert msgspec.structs.asdict(page.items[0]) == {
        "at": LATER,
        "actor": "ann",
        "action": "dead_letter_replayed",
        "subject": f"dead letter {kept.id}",
        "detail": f"fingerprint {kept.dead_letter.fingerprint}, {body}: duplicate aws/1",
    }
    assert [line.detail.rpartition(": ")[2] for line in rest.items] == ["stored aws/1"]
    assert rest.next_cursor is None
    assert store.audit_log(action="replay_started", limit=10).items == []
    assert len(store.audit_log(subject=kept.subject, limit=10).items) == 2


def test_a_letter_that_became_an_event_becomes_no_other(store):
    kept = stored_dead_letters(store, poison())
    replay(store, kept, eventbridge("1").body)

    with pytest.raises(AlreadyReplayed, match="already replayed as aws/1; this replay gives aws/2"):
        replay(store, kept, eventbridge("2").body)

    assert store.event(("aws", "2")) is None
    assert store.dead_letter(kept.id).replayed_keys == [("aws", "1")]
    assert len(store.audit_log(limit=10).items) == 1


def test_what_can_not_be_audited_is_not_stored(store, monkeypatch):
    """Event, mark and line are one transaction: a crash between them leaves none of the three."""
    kept = stored_dead_letters(store, poison())

    def crash(*_):
        raise Retryable("the process dies here")

    monkeypatch.setattr(MemoryAuditWriter, "add", crash)
    monkeypatch.setattr(PostgresAuditWriter, "add", crash)
    with pytest.raises(Retryable):
        replay(store, kept, eventbridge("1").body)

    assert store.event(("aws", "1")) is None
    assert store.dead_letter(kept.id).replayed_at is None


def test_a_repaired_array_is_taken_in_element_by_element(store):
    """A broken array is one letter."""
    kept = stored_dead_letters(store, Delivery(channel="eventgrid", body=b"[{", received_at=NOON))
    array = b"[" + eventgrid("1").body + b"," + eventgrid("2").body + b"]"

    with pytest.raises(Rejected) as refused:
        replay(store, kept, array[:-1] + b', {"id": "3"}]')
    assert refused.value.field.startswith("[2].")
    assert store.totals(LATER).stored == 0

    assert [one.status for one in replays(store, kept, array)] == ["stored", "stored"]
    assert store.dead_letter(kept.id).replayed_keys == [("azure", "1"), ("azure", "2")]
    assert [one.status for one in replays(store, kept, array)] == ["duplicate", "duplicate"]


@pytest.mark.parametrize("place", ["normalise", "insert"])
def test_a_letter_on_which_helios_fails_is_refused_and_stays(store, monkeypatch, place):
    kept = stored_dead_letters(store, poison())

    def fail(*_):
        raise TypeError("a defect")

    if place == "normalise":
        monkeypatch.setitem(NORMALISERS, "eventbridge", fail)
    monkeypatch.setattr(MemoryEventWriter, "insert", fail)
    monkeypatch.setattr(PostgresEventWriter, "insert", fail)
    with pytest.raises(Rejected, match=r"Internal error \(TypeError\)"):
        replay(store, kept, eventbridge("1").body)
    assert store.dead_letter(kept.id) == kept


def test_what_can_not_be_stored_is_refused_whole(store, monkeypatch):
    kept = stored_dead_letters(store, poison())

    def refuse(*_):
        raise Rejected("can't be stored: out of range", field="body")

    monkeypatch.setattr(MemoryEventWriter, "insert", refuse)
    monkeypatch.setattr(PostgresEventWriter, "insert", refuse)
    with pytest.raises(Rejected, match="out of range"):
        replay(store, kept, eventbridge("1").body)
    assert store.dead_letter(kept.id) == kept
