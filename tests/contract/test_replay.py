"""The contract of replaying a dead letter, on every store that Helios ships."""

from datetime import timedelta
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
from tests.support.deliveries import NOON, aws_key, azure_key, eventbridge, eventgrid, poison

LATER = NOON + timedelta(hours=1)


def stored_dead_letter(store, delivery):
    ingest([delivery], dedupe=NullDedupeCache(), store=store)
    return store.dead_letter(store.dead_letters(DeadLetterFilter(), after=None, limit=1).items[0].id)


def replay(store, dead_letter, repaired_body=None):
    (outcome,) = replays(store, dead_letter, repaired_body)
    return outcome


def replays(store, dead_letter, repaired_body=None):
    def ingest_now(deliveries, *, also_write=None, accept=False):
        return ingest(deliveries, dedupe=NullDedupeCache(), store=store, also_write=also_write)

    return replay_dead_letter(dead_letter, repaired_body, ingest=ingest_now, actor="ann", now=LATER)


def test_a_repaired_dead_letter_becomes_its_event_and_is_marked(store):
    dead_letter = stored_dead_letter(store, poison())

    assert replay(store, dead_letter, eventbridge("1").body).status == "stored"

    marked = store.dead_letter(dead_letter.id)
    assert (marked.replayed_as, marked.replayed_at) == ("stored", LATER)
    assert marked.dead_letter.body == b"{"
    assert store.event(aws_key("1")).received_at == LATER


def test_a_second_replay_is_a_duplicate_and_does_not_change_the_mark(store):
    dead_letter = stored_dead_letter(store, poison())
    replay(store, dead_letter, eventbridge("1").body)

    assert replay(store, dead_letter, eventbridge("1").body).status == "duplicate"
    assert store.dead_letter(dead_letter.id).replayed_as == "stored"


def test_a_dead_letter_left_unmarked_by_a_crash_is_marked_by_the_next_replay(store):
    """The event is stored, and the process ends before it marks the dead letter."""
    dead_letter = stored_dead_letter(store, poison())
    ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=store)

    replay(store, dead_letter, eventbridge("1").body)

    assert store.dead_letter(dead_letter.id).replayed_as == "duplicate"


def test_a_replay_of_a_body_that_is_still_unreadable_changes_nothing(store):
    dead_letter = stored_dead_letter(store, poison())
    before = store.totals(LATER)

    with pytest.raises(Rejected):
        replay(store, dead_letter)

    assert store.dead_letter(dead_letter.id) == dead_letter
    assert store.totals(LATER) == before
    assert store.audit_log(limit=10).items == []


def test_a_truncated_dead_letter_needs_its_complete_body(store):
    dead_letter = stored_dead_letter(store, poison(b"{" + b" " * MAX_DEAD_LETTER_BYTES))

    with pytest.raises(Rejected, match="was truncated"):
        replay(store, dead_letter)

    assert replay(store, dead_letter, eventbridge("1").body).status == "stored"


def test_an_empty_array_replays_nothing(store):
    """A dead letter that became no event would count as replayed otherwise."""
    dead_letter = stored_dead_letter(store, poison())

    with pytest.raises(Rejected, match="is an empty array"):
        replay(store, dead_letter, b"[]")

    assert store.dead_letter(dead_letter.id).replayed_at is None


def test_a_contradictory_repair_does_not_mark_the_dead_letter(store):
    ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=store)
    dead_letter = stored_dead_letter(store, poison())

    assert replay(store, dead_letter, eventbridge("1", detail={"amount": 99}).body).status == "contradictory"
    assert store.dead_letter(dead_letter.id).replayed_at is None


def test_the_audit_log_has_each_replay_newest_first(store):
    dead_letter = stored_dead_letter(store, poison())
    replay(store, dead_letter, eventbridge("1").body)
    replay(store, dead_letter, eventbridge("1").body)

    page = store.audit_log(limit=1)
    rest = store.audit_log(after=page.next_cursor, limit=1)

    body = f"with a fixed body, SHA-256 {sha256(eventbridge('1').body).hexdigest()}"
    assert msgspec.structs.asdict(page.items[0]) == {
        "at": LATER,
        "actor": "ann",
        "action": "dead_letter_replayed",
        "subject": f"dead letter {dead_letter.id}",
        "detail": f"fingerprint {dead_letter.dead_letter.fingerprint}, {body}: duplicate {'/'.join(aws_key())}",
    }
    assert [line.detail.rpartition(": ")[2] for line in rest.items] == [f"stored {'/'.join(aws_key())}"]
    assert rest.next_cursor is None
    assert store.audit_log(action="replay_started", limit=10).items == []
    assert len(store.audit_log(subject=dead_letter.subject, limit=10).items) == 2


def test_a_replayed_dead_letter_can_not_become_another_event(store):
    dead_letter = stored_dead_letter(store, poison())
    replay(store, dead_letter, eventbridge("1").body)

    first, second = ("/".join(aws_key(id_)) for id_ in ("1", "2"))
    with pytest.raises(AlreadyReplayed, match=f"already replayed as {first}; this replay gives {second}"):
        replay(store, dead_letter, eventbridge("2").body)

    assert store.event(aws_key("2")) is None
    assert store.dead_letter(dead_letter.id).replayed_keys == [aws_key("1")]
    assert len(store.audit_log(limit=10).items) == 1


def test_a_replay_without_an_audit_entry_is_not_stored(store, monkeypatch):
    """Event, mark and audit entry are one transaction. A crash between them leaves none of the three."""
    dead_letter = stored_dead_letter(store, poison())

    def crash(*_):
        raise Retryable("the process dies here")

    monkeypatch.setattr(MemoryAuditWriter, "add", crash)
    monkeypatch.setattr(PostgresAuditWriter, "add", crash)
    with pytest.raises(Retryable):
        replay(store, dead_letter, eventbridge("1").body)

    assert store.event(aws_key("1")) is None
    assert store.dead_letter(dead_letter.id).replayed_at is None


def test_a_repaired_array_is_ingested_by_element(store):
    """A broken array is one dead letter."""
    dead_letter = stored_dead_letter(store, Delivery(channel="eventgrid", body=b"[{", received_at=NOON))
    array = b"[" + eventgrid("1").body + b"," + eventgrid("2").body + b"]"

    with pytest.raises(Rejected) as refused:
        replay(store, dead_letter, array[:-1] + b', {"id": "3"}]')
    assert refused.value.field.startswith("[2].")
    assert store.totals(LATER).stored == 0

    assert [outcome.status for outcome in replays(store, dead_letter, array)] == ["stored", "stored"]
    assert store.dead_letter(dead_letter.id).replayed_keys == [azure_key("1"), azure_key("2")]
    assert [outcome.status for outcome in replays(store, dead_letter, array)] == ["duplicate", "duplicate"]


@pytest.mark.parametrize("place", ["normalise", "insert"])
def test_a_dead_letter_that_triggers_a_bug_is_refused_and_unchanged(store, monkeypatch, place):
    dead_letter = stored_dead_letter(store, poison())

    def fail(*_):
        raise TypeError("a bug")

    if place == "normalise":
        monkeypatch.setitem(NORMALISERS, "eventbridge", fail)
    monkeypatch.setattr(MemoryEventWriter, "insert", fail)
    monkeypatch.setattr(PostgresEventWriter, "insert", fail)
    with pytest.raises(Rejected, match=r"Internal error \(TypeError\)"):
        replay(store, dead_letter, eventbridge("1").body)
    assert store.dead_letter(dead_letter.id) == dead_letter


def test_an_event_that_can_not_be_stored_is_refused_without_a_mark(store, monkeypatch):
    dead_letter = stored_dead_letter(store, poison())

    def refuse(*_):
        raise Rejected("can't be stored: out of range", field="body")

    monkeypatch.setattr(MemoryEventWriter, "insert", refuse)
    monkeypatch.setattr(PostgresEventWriter, "insert", refuse)
    with pytest.raises(Rejected, match="out of range"):
        replay(store, dead_letter, eventbridge("1").body)
    assert store.dead_letter(dead_letter.id) == dead_letter
