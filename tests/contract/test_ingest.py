"""What ingest promises, on every store that Helios ships."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pkgutil import resolve_name
from random import Random

import pytest
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.errors import Rejected, Retryable
from helios.model.dead_letters import MAX_DEAD_LETTER_BYTES, DeadLetterFilter
from helios.model.events import Delivery, EventFilter, Fault
from helios.normalise import normalise
from helios.reconciliation.evidence import EvidenceExtractor
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from tests.fakes.store import MemoryDeadLetterWriter, MemoryDedupeCache, MemoryStore
from tests.support.deliveries import NOON, eventbridge, eventgrid, poison
from tests.support.instances import ORDER


def take_in(store, *deliveries, dedupe=None):
    return [outcome.status for outcome in ingest(deliveries, dedupe=dedupe or NullDedupeCache(), store=store)]


def ids(store):
    return {event.key for event in store.events(EventFilter(), after=None, limit=500).items}


def dead_letters(store):
    return [kept.dead_letter for kept in store.dead_letters(DeadLetterFilter(), after=None, limit=500).items]


def test_a_new_event_is_stored(store):
    assert take_in(store, eventbridge("1")) == ["stored"]
    assert store.event(("aws", "1")).order_id == "ORD-1"


def test_the_stored_event_is_the_normalised_one(store):
    """Every attribute survives the store."""
    outcome = ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=store)[0]

    assert store.event(("aws", "1")) == outcome.event


def test_a_second_delivery_is_a_duplicate(store):
    take_in(store, eventbridge("1"))

    assert take_in(store, eventbridge("1")) == ["duplicate"]
    assert ids(store) == {("aws", "1")}


@pytest.mark.parametrize(("second", "outcome"), [({"amount": 10.0}, "duplicate"), ({"amount": 12}, "contradictory")])
def test_an_event_whose_digest_was_made_otherwise_is_compared_by_its_content(store, second, outcome):
    """As after an update of Helios that changes how digests are made."""
    event = normalise(eventbridge("1", detail={"amount": 10.0}))
    with store.transaction() as work:
        assert work.events.insert([replace(event, digest="0123456789abcdef")]).result() == {event.key}

    assert take_in(store, eventbridge("1", detail=second)) == [outcome]


def test_a_batch_may_repeat_itself(store):
    assert take_in(store, *[eventbridge("1")] * 50) == ["stored"] + ["duplicate"] * 49


def test_duplicate_new_new(store):
    take_in(store, eventgrid("1"))

    assert take_in(store, eventgrid("1"), eventgrid("2"), eventgrid("3")) == ["duplicate", "stored", "stored"]


def test_two_clouds_may_use_one_id(store):
    assert take_in(store, eventbridge("1"), eventgrid("1")) == ["stored", "stored"]
    assert ids(store) == {("aws", "1"), ("azure", "1")}


def test_other_content_under_one_id_is_contradictory_and_kept(store):
    take_in(store, eventbridge("1", detail={"amount": 10.0}))
    second = eventbridge("1", detail={"amount": 12.0})

    assert take_in(store, second) == ["contradictory"]
    assert [(dead_letter.status, dead_letter.field, dead_letter.body) for dead_letter in dead_letters(store)] == [
        ("contradictory", "data.amount", second.body)
    ]


def test_a_contradiction_inside_a_batch_is_seen(store):
    assert take_in(store, eventbridge("1"), eventbridge("1", type_="OrderCancelled")) == ["stored", "contradictory"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('{"amount":10.0}', '{"amount":10.00}'),
        ('{"a":1,"b":[1,2]}', '{ "b": [1, 2], "a": 1 }'),
        ('{"a":"\\u00e9"}', '{"a":"é"}'),
    ],
    ids=["number spelling", "key order and space", "escapes"],
)
def test_the_same_content_spelt_otherwise_is_a_duplicate(store, first, second):
    def spelt(detail: str) -> Delivery:
        body = json.dumps(json.loads(eventbridge("1").body) | {"detail": "HERE"}).replace('"HERE"', detail)
        return Delivery(channel="eventbridge", body=body.encode(), received_at=NOON)

    assert take_in(store, spelt(first), spelt(second)) == ["stored", "duplicate"]


def test_a_bad_event_does_not_hold_up_its_batch(store):
    assert take_in(store, eventbridge("1"), poison(), eventbridge("2")) == ["stored", "rejected", "stored"]
    assert [(dead_letter.status, dead_letter.field, dead_letter.source) for dead_letter in dead_letters(store)] == [
        ("rejected", "body", "aws")
    ]


def test_a_batch_of_nothing_but_poison_is_acknowledged(store):
    assert take_in(store, poison(b"{"), poison(b"[")) == ["rejected", "rejected"]


def test_a_poison_that_comes_again_stays_one_letter(store):
    take_in(store, poison(), poison())
    take_in(store, poison())

    assert [dead_letter.attempts for dead_letter in dead_letters(store)] == [3]


def test_what_the_edge_could_not_take_is_kept_with_its_fault(store):
    fault = Fault(reason="is larger than 10 bytes", field="body", status=413)
    take_in(store, Delivery(channel="pubsub", body=b"x" * 10, received_at=NOON, fault=fault))

    assert [(dead_letter.reason, dead_letter.source) for dead_letter in dead_letters(store)] == [
        ("is larger than 10 bytes", "gcp")
    ]


def test_a_dead_letter_is_cut_off_at_its_limit(store):
    take_in(store, poison(b"{" * (MAX_DEAD_LETTER_BYTES + 1)))

    assert [len(dead_letter.body) for dead_letter in dead_letters(store)] == [MAX_DEAD_LETTER_BYTES]


def test_a_dead_letter_keeps_any_bytes(store):
    anything = bytes(range(256))
    take_in(store, poison(anything))

    assert [dead_letter.body for dead_letter in dead_letters(store)] == [anything]


def test_a_mark_without_a_row_does_not_swallow_the_event(store):
    """After a restore of the database, Redis remembers what Postgres has lost."""
    dedupe = MemoryDedupeCache()
    dedupe.add({("aws", "1")})

    assert take_in(store, eventbridge("1"), eventbridge("1"), dedupe=dedupe) == ["stored", "duplicate"]


def test_a_marked_contradiction_is_still_seen(store):
    """Redis alone would take it for a duplicate."""
    dedupe = MemoryDedupeCache()
    take_in(store, eventbridge("1"), dedupe=dedupe)

    assert take_in(store, eventbridge("1", type_="OrderCancelled"), dedupe=dedupe) == ["contradictory"]


def test_stored_and_duplicate_events_are_remembered_and_no_others(store):
    dedupe = MemoryDedupeCache()
    take_in(store, eventbridge("1"))
    take_in(store, eventbridge("1"), eventbridge("2"), eventbridge("2", type_="Other"), poison(), dedupe=dedupe)

    assert dedupe.keys == {("aws", "1"), ("aws", "2")}


def test_the_ledger_conserves_every_delivery(store):
    """received = stored + duplicate + contradictory + rejected."""
    take_in(store, eventbridge("1"), eventbridge("1"), eventbridge("1", type_="Other"), poison(), eventgrid("1"))
    totals = store.totals(NOON)

    assert (totals.stored, totals.duplicate, totals.contradictory, totals.rejected) == (2, 1, 1, 1)
    assert totals.events_by_source == {"aws": 1, "gcp": 0, "azure": 1}


def test_the_last_day_is_counted_by_when_events_were_received(store):
    take_in(store, eventbridge("1", received_at=NOON - timedelta(hours=25)), eventbridge("2"))

    assert store.totals(NOON).last_24h == 1


@pytest.mark.parametrize("minutes_past_the_hour", [0, 1, 30, 59])
def test_the_last_day_is_exact_to_the_minute(store, minutes_past_the_hour):
    """Wherever in an hour it begins."""
    now = NOON + timedelta(minutes=minutes_past_the_hour)
    ages = [timedelta(minutes=minutes) for minutes in range(1320, 1560, 7)]
    ages += [timedelta(days=1), timedelta(days=1, minutes=1), timedelta(0)]
    take_in(store, *[eventbridge(str(n), received_at=now - age) for n, age in enumerate(ages)])

    totals = store.totals(now)

    assert totals.stored == len(ages)
    assert totals.last_24h == sum(age <= timedelta(days=1) for age in ages)


def test_pages_give_every_event_once_and_in_order(store):
    """Also where many were received in the same instant."""
    take_in(store, *[eventbridge(str(n), received_at=NOON + timedelta(seconds=n // 5)) for n in range(23)])
    found, cursor = [], None
    while True:
        page = store.events(EventFilter(), after=cursor, limit=4)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break

    assert Counter(event.id for event in found) == Counter(str(n) for n in range(23))
    assert [event.received_at for event in found] == sorted((event.received_at for event in found), reverse=True)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (EventFilter(source="azure"), {"3"}),
        (EventFilter(type="OrderShipped"), {"2"}),
        (EventFilter(order_id="ORD-1"), {"1"}),
        (EventFilter(since=NOON + timedelta(seconds=1)), {"2", "3"}),
        (EventFilter(until=NOON + timedelta(seconds=1)), {"1"}),
        (EventFilter(source="gcp"), set()),
    ],
    ids=["source", "type", "order", "since", "until", "none"],
)
def test_events_can_be_filtered(store, where, expected):
    take_in(
        store,
        eventbridge("1"),
        eventbridge("2", type_="OrderShipped", received_at=NOON + timedelta(seconds=1)),
        eventgrid("3", received_at=NOON + timedelta(seconds=2)),
    )

    assert {event.id for event in store.events(where, after=None, limit=10).items} == expected


def test_four_writers_of_the_same_shuffled_events_agree(store):
    """No deadlock, no loss, no double, and the ledger adds up."""
    deliveries = [eventbridge(str(n)) for n in range(200)]

    def write(seed: int) -> list[str]:
        mine = Random(seed).sample(deliveries, len(deliveries))
        return [status for start in range(0, len(mine), 50) for status in take_in(store, *mine[start : start + 50])]

    with ThreadPoolExecutor(4) as pool:
        statuses = Counter(status for result in pool.map(write, range(4)) for status in result)

    assert statuses == {"stored": 200, "duplicate": 600}
    assert (store.totals(NOON).stored, store.totals(NOON).duplicate) == (200, 600)


def test_writers_of_many_minutes_and_clouds_at_once_add_up(store):
    """No deadlock, though each batch touches the same sums in its own order of minutes."""

    def write(seed: int) -> None:
        random = Random(seed)
        for number in range(30):
            batch = [
                (eventbridge if random.random() < 0.5 else eventgrid)(
                    f"{seed}-{number}-{n}", received_at=NOON - timedelta(minutes=random.randrange(120))
                )
                for n in range(6)
            ]
            take_in(store, *batch, batch[0])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))

    totals = store.totals(NOON)
    assert (totals.stored, totals.duplicate, totals.last_24h) == (720, 120, 720)
    assert sum(totals.events_by_source.values()) == totals.stored


def test_the_ledger_can_be_read_by_minute(store):
    """From a minute on, all types of a cloud together."""
    later = NOON + timedelta(minutes=2)
    take_in(store, eventbridge("0", received_at=NOON - timedelta(seconds=1)))
    take_in(store, eventbridge("1"), eventbridge("1"), eventbridge("2", type_="OrderCancelled"), eventgrid("1"))
    take_in(store, poison(), eventbridge("3", received_at=later + timedelta(seconds=59)))

    assert [(count.minute, count.source, count.stored, count.duplicate) for count in store.minutes(NOON)] == [
        (NOON, "aws", 2, 1),
        (NOON, "azure", 1, 0),
        (later, "aws", 1, 0),
    ]
    assert sum(count.rejected for count in store.minutes(NOON)) == 1


@pytest.mark.parametrize(
    "step", ["helios.services.ingest.normalise", "helios.reconciliation.evidence.EvidenceExtractor.extract"]
)
def test_an_event_on_which_we_fail_ourselves_is_buried_alone_with_its_stack_logged(store, monkeypatch, caplog, step):
    """Whatever the defect: its batch must not come back for as long as it is there."""
    real = resolve_name(step)

    def fails_on_one(*given):
        if "Defective" in repr(given[-1]):
            raise ZeroDivisionError
        return real(*given)

    monkeypatch.setattr(step, fails_on_one)
    defective = eventbridge("3", type_="Defective")
    batch = [eventbridge("1"), eventbridge("2"), defective, eventgrid("4")]
    outcomes = ingest(batch, dedupe=NullDedupeCache(), store=store, reconciler=Reconciler([ORDER]))

    assert [outcome.status for outcome in outcomes] == ["stored", "stored", "rejected", "stored"]
    assert [(dead_letter.body, "ZeroDivisionError" in dead_letter.reason) for dead_letter in dead_letters(store)] == [
        (defective.body, True)
    ]
    (stack,) = [record.exc_info for record in caplog.records if record.exc_info]
    assert stack[0] is ZeroDivisionError
    monkeypatch.undo()
    assert take_in(store, defective) == ["stored"]


@pytest.mark.parametrize("fault", [MemoryError, OSError, Retryable])
def test_what_the_machine_does_is_no_event_s_fault(store, monkeypatch, fault):
    def extract(*_: object):
        raise fault

    monkeypatch.setattr(EvidenceExtractor, "extract", extract)
    with pytest.raises(fault):
        ingest(
            [eventbridge("1"), eventbridge("2")], dedupe=NullDedupeCache(), store=store, reconciler=Reconciler([ORDER])
        )

    assert (ids(store), dead_letters(store)) == (set(), [])


def test_what_can_not_even_be_buried_is_sent_again(monkeypatch):
    """And nobody is told that its delivery is at fault: a cloud would forget it."""

    def add_dead_letters(*_: object) -> None:
        raise Rejected("can't be stored", field="body")

    monkeypatch.setattr(MemoryDeadLetterWriter, "add", add_dead_letters)
    store = MemoryStore()
    with pytest.raises(Retryable, match="can't be stored"):
        take_in(store, eventbridge("1"), poison(), eventbridge("2"))
