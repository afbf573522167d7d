"""The contract of ingest, on every store that Helios ships."""

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
from helios.model.dead_letters import LISTED_BODY_BYTES, MAX_DEAD_LETTER_BYTES, DeadLetterFilter
from helios.model.events import Delivery, EventFilter, Fault
from helios.normalise import normalise
from helios.reconciliation.evidence import EvidenceExtractor
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from tests.fakes.store import MemoryDeadLetterWriter, MemoryDedupeCache, MemoryStore
from tests.support.deliveries import NOON, aws_key, azure_key, eventbridge, eventgrid, poison
from tests.support.instances import ORDER


def ingest_all(store, *deliveries, dedupe=None):
    return [outcome.status for outcome in ingest(deliveries, dedupe=dedupe or NullDedupeCache(), store=store)]


def ids(store):
    return {event.key for event in store.events(EventFilter(), after=None, limit=500).items}


def dead_letters(store):
    listed = store.dead_letters(DeadLetterFilter(), after=None, limit=500).items
    return [store.dead_letter(stored.id).dead_letter for stored in listed]


def test_a_new_event_is_stored(store):
    assert ingest_all(store, eventbridge("1")) == ["stored"]
    assert store.event(aws_key("1")).order_id == "ORD-1"


def test_the_stored_event_equals_the_normalised_one(store):
    """The store returns every attribute unchanged."""
    outcome = ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=store)[0]

    assert store.event(aws_key("1")) == outcome.event


def test_a_second_delivery_is_a_duplicate(store):
    ingest_all(store, eventbridge("1"))

    assert ingest_all(store, eventbridge("1")) == ["duplicate"]
    assert ids(store) == {aws_key("1")}


@pytest.mark.parametrize(("second", "outcome"), [({"amount": 10.0}, "duplicate"), ({"amount": 12}, "contradictory")])
def test_an_event_with_an_outdated_digest_is_compared_by_its_content(store, second, outcome):
    """This happens after an update of Helios that changes the digest."""
    event = normalise(eventbridge("1", detail={"amount": 10.0}))
    with store.transaction() as work:
        assert work.events.insert([replace(event, digest="0123456789abcdef")]).result() == {event.key}

    assert ingest_all(store, eventbridge("1", detail=second)) == [outcome]


def test_a_repeated_event_in_a_batch_is_a_duplicate(store):
    assert ingest_all(store, *[eventbridge("1")] * 50) == ["stored"] + ["duplicate"] * 49


def test_a_duplicate_does_not_affect_new_events_in_its_batch(store):
    ingest_all(store, eventgrid("1"))

    assert ingest_all(store, eventgrid("1"), eventgrid("2"), eventgrid("3")) == ["duplicate", "stored", "stored"]


def test_two_clouds_may_use_the_same_id(store):
    assert ingest_all(store, eventbridge("1"), eventgrid("1")) == ["stored", "stored"]
    assert ids(store) == {aws_key("1"), azure_key("1")}


def test_other_content_under_one_id_is_contradictory_and_a_dead_letter(store):
    ingest_all(store, eventbridge("1", detail={"amount": 10.0}))
    second = eventbridge("1", detail={"amount": 12.0})

    assert ingest_all(store, second) == ["contradictory"]
    assert [(dead_letter.status, dead_letter.field, dead_letter.body) for dead_letter in dead_letters(store)] == [
        ("contradictory", "data.amount", second.body)
    ]


def test_a_contradiction_within_a_batch_is_detected(store):
    assert ingest_all(store, eventbridge("1"), eventbridge("1", type_="OrderCancelled")) == ["stored", "contradictory"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('{"amount":10.0}', '{"amount":10.00}'),
        ('{"a":1,"b":[1,2]}', '{ "b": [1, 2], "a": 1 }'),
        ('{"a":"\\u00e9"}', '{"a":"é"}'),
    ],
    ids=["number spelling", "key order and space", "escapes"],
)
def test_the_same_content_in_another_format_is_a_duplicate(store, first, second):
    def delivery_with(detail: str) -> Delivery:
        body = json.dumps(json.loads(eventbridge("1").body) | {"detail": "HERE"}).replace('"HERE"', detail)
        return Delivery(channel="eventbridge", body=body.encode(), received_at=NOON)

    assert ingest_all(store, delivery_with(first), delivery_with(second)) == ["stored", "duplicate"]


def test_a_bad_event_does_not_block_its_batch(store):
    assert ingest_all(store, eventbridge("1"), poison(), eventbridge("2")) == ["stored", "rejected", "stored"]
    assert [(dead_letter.status, dead_letter.field, dead_letter.source) for dead_letter in dead_letters(store)] == [
        ("rejected", "body", "aws")
    ]


def test_a_batch_of_only_poison_is_acknowledged(store):
    assert ingest_all(store, poison(b"{"), poison(b"[")) == ["rejected", "rejected"]


def test_a_repeated_poison_delivery_is_one_dead_letter(store):
    ingest_all(store, poison(), poison())
    ingest_all(store, poison())

    assert [dead_letter.attempts for dead_letter in dead_letters(store)] == [3]


def test_a_delivery_with_a_fault_becomes_a_dead_letter_with_that_fault(store):
    fault = Fault(reason="is larger than 10 bytes", field="body", status=413)
    ingest_all(store, Delivery(channel="pubsub", body=b"x" * 10, received_at=NOON, fault=fault))

    assert [(dead_letter.reason, dead_letter.source) for dead_letter in dead_letters(store)] == [
        ("is larger than 10 bytes", "gcp")
    ]


def test_a_dead_letter_is_truncated_at_its_limit(store):
    ingest_all(store, poison(b"{" * (MAX_DEAD_LETTER_BYTES + 1)))

    assert [len(dead_letter.body) for dead_letter in dead_letters(store)] == [MAX_DEAD_LETTER_BYTES]


def test_a_list_has_the_beginning_of_a_dead_letter(store):
    """A page of whole bodies would not fit into memory."""
    ingest_all(store, poison(b"{" * (LISTED_BODY_BYTES + 1)))
    (listed,) = store.dead_letters(DeadLetterFilter(), after=None, limit=500).items

    assert (len(listed.dead_letter.body), listed.body_bytes) == (LISTED_BODY_BYTES, LISTED_BODY_BYTES + 1)


def test_events_are_found_by_their_attributes(store):
    """All of several attributes, each with exactly this value."""
    events = [
        replace(normalise(eventbridge(id_)), attributes=attributes)
        for id_, attributes in (("1", {"tenant": "t1", "n": "1"}), ("2", {"tenant": "t2", "n": "1"}), ("3", {}))
    ]
    with store.transaction() as work:
        work.events.insert(events).result()

    def found(attributes):
        page = store.events(EventFilter(attributes=attributes), after=None, limit=10)
        return [event.id for event in page.items]

    assert found({"tenant": "t1"}) == ["1"]
    assert found({"n": "1"}) == ["2", "1"]
    assert found({"n": "1", "tenant": "t2"}) == ["2"]
    assert found({"tenant": "t"}) == []


def test_a_dead_letter_stores_any_bytes(store):
    body = bytes(range(256))
    ingest_all(store, poison(body))

    assert [dead_letter.body for dead_letter in dead_letters(store)] == [body]


def test_a_cached_key_without_a_row_does_not_lose_the_event(store):
    """After a restore of the database, Redis may have keys that Postgres has lost."""
    dedupe = MemoryDedupeCache()
    dedupe.add({aws_key("1")})

    assert ingest_all(store, eventbridge("1"), eventbridge("1"), dedupe=dedupe) == ["stored", "duplicate"]


def test_a_contradiction_of_a_cached_key_is_detected(store):
    """Redis alone would report a duplicate."""
    dedupe = MemoryDedupeCache()
    ingest_all(store, eventbridge("1"), dedupe=dedupe)

    assert ingest_all(store, eventbridge("1", type_="OrderCancelled"), dedupe=dedupe) == ["contradictory"]


def test_only_keys_of_stored_and_duplicate_events_are_cached(store):
    dedupe = MemoryDedupeCache()
    ingest_all(store, eventbridge("1"))
    ingest_all(store, eventbridge("1"), eventbridge("2"), eventbridge("2", type_="Other"), poison(), dedupe=dedupe)

    assert dedupe.keys == {aws_key("1"), aws_key("2")}


def test_the_counts_include_every_delivery_once(store):
    """received = stored + duplicate + contradictory + rejected."""
    ingest_all(store, eventbridge("1"), eventbridge("1"), eventbridge("1", type_="Other"), poison(), eventgrid("1"))
    totals = store.totals(NOON)

    assert (totals.stored, totals.duplicate, totals.contradictory, totals.rejected) == (2, 1, 1, 1)
    assert totals.events_by_source == {"aws": 1, "azure": 1}


def test_the_last_day_is_counted_by_time_of_receipt(store):
    ingest_all(store, eventbridge("1", received_at=NOON - timedelta(hours=25)), eventbridge("2"))

    assert store.totals(NOON).last_24h == 1


@pytest.mark.parametrize("minutes_past_the_hour", [0, 1, 30, 59])
def test_the_last_day_is_exact_to_the_minute(store, minutes_past_the_hour):
    """This holds for every start within an hour."""
    now = NOON + timedelta(minutes=minutes_past_the_hour)
    ages = [timedelta(minutes=minutes) for minutes in range(1320, 1560, 7)]
    ages += [timedelta(days=1), timedelta(days=1, minutes=1), timedelta(0)]
    ingest_all(store, *[eventbridge(str(n), received_at=now - age) for n, age in enumerate(ages)])

    totals = store.totals(now)

    assert totals.stored == len(ages)
    assert totals.last_24h == sum(age <= timedelta(days=1) for age in ages)


def test_pages_give_every_event_once_and_in_order(store):
    """This includes events that were received in the same instant."""
    ingest_all(store, *[eventbridge(str(n), received_at=NOON + timedelta(seconds=n // 5)) for n in range(23)])
    events, cursor = [], None
    while True:
        page = store.events(EventFilter(), after=cursor, limit=4)
        events += page.items
        cursor = page.next_cursor
        if cursor is None:
            break

    assert Counter(event.id for event in events) == Counter(str(n) for n in range(23))
    assert [event.received_at for event in events] == sorted((event.received_at for event in events), reverse=True)


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
    ingest_all(
        store,
        eventbridge("1"),
        eventbridge("2", type_="OrderShipped", received_at=NOON + timedelta(seconds=1)),
        eventgrid("3", received_at=NOON + timedelta(seconds=2)),
    )

    assert {event.id for event in store.events(where, after=None, limit=10).items} == expected


def test_four_writers_of_the_same_events_store_each_once(store):
    """No deadlock, no loss, no double row, and exact counts."""
    deliveries = [eventbridge(str(n)) for n in range(200)]

    def write(seed: int) -> list[str]:
        shuffled = Random(seed).sample(deliveries, len(deliveries))
        return [
            status
            for start in range(0, len(shuffled), 50)
            for status in ingest_all(store, *shuffled[start : start + 50])
        ]

    with ThreadPoolExecutor(4) as pool:
        statuses = Counter(status for result in pool.map(write, range(4)) for status in result)

    assert statuses == {"stored": 200, "duplicate": 600}
    assert (store.totals(NOON).stored, store.totals(NOON).duplicate) == (200, 600)


def test_counts_of_concurrent_writers_of_many_minutes_are_exact(store):
    """No deadlock, although each batch updates the same sums in its own order of minutes."""

    def write(seed: int) -> None:
        random = Random(seed)
        for number in range(30):
            batch = [
                (eventbridge if random.random() < 0.5 else eventgrid)(
                    f"{seed}-{number}-{n}", received_at=NOON - timedelta(minutes=random.randrange(120))
                )
                for n in range(6)
            ]
            ingest_all(store, *batch, batch[0])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))

    totals = store.totals(NOON)
    assert (totals.stored, totals.duplicate, totals.last_24h) == (720, 120, 720)
    assert sum(totals.events_by_source.values()) == totals.stored


def test_counts_are_read_by_minute(store):
    """The counts begin at a minute and combine all types of a cloud."""
    later = NOON + timedelta(minutes=2)
    ingest_all(store, eventbridge("0", received_at=NOON - timedelta(seconds=1)))
    ingest_all(store, eventbridge("1"), eventbridge("1"), eventbridge("2", type_="OrderCancelled"), eventgrid("1"))
    ingest_all(store, poison(), eventbridge("3", received_at=later + timedelta(seconds=59)))

    assert [(count.minute, count.source, count.stored, count.duplicate) for count in store.minutes(NOON)] == [
        (NOON, "aws", 2, 1),
        (NOON, "azure", 1, 0),
        (later, "aws", 1, 0),
    ]
    assert sum(count.rejected for count in store.minutes(NOON)) == 1


@pytest.mark.parametrize(
    "step", ["helios.services.reading.normalise", "helios.reconciliation.evidence.EvidenceExtractor.extract"]
)
def test_an_event_that_triggers_a_bug_is_a_dead_letter_alone_with_its_stack_logged(store, monkeypatch, caplog, step):
    """The cloud must not redeliver the batch until the bug is fixed."""
    real = resolve_name(step)

    def fail_on_one_event(*arguments):
        if "Failing" in repr(arguments[-1]):
            raise ZeroDivisionError
        return real(*arguments)

    monkeypatch.setattr(step, fail_on_one_event)
    failing = eventbridge("3", type_="Failing")
    batch = [eventbridge("1"), eventbridge("2"), failing, eventgrid("4")]
    outcomes = ingest(batch, dedupe=NullDedupeCache(), store=store, reconciler=Reconciler([ORDER]))

    assert [outcome.status for outcome in outcomes] == ["stored", "stored", "rejected", "stored"]
    assert [(dead_letter.body, "ZeroDivisionError" in dead_letter.reason) for dead_letter in dead_letters(store)] == [
        (failing.body, True)
    ]
    (stack,) = [record.exc_info for record in caplog.records if record.exc_info]
    assert stack[0] is ZeroDivisionError
    monkeypatch.undo()
    assert ingest_all(store, failing) == ["stored"]


@pytest.mark.parametrize("fault", [MemoryError, OSError, Retryable])
def test_an_error_of_the_machine_rejects_no_event(store, monkeypatch, fault):
    def extract(*_: object):
        raise fault

    monkeypatch.setattr(EvidenceExtractor, "extract", extract)
    with pytest.raises(fault):
        ingest(
            [eventbridge("1"), eventbridge("2")], dedupe=NullDedupeCache(), store=store, reconciler=Reconciler([ORDER])
        )

    assert (ids(store), dead_letters(store)) == (set(), [])


def test_a_failure_to_store_dead_letters_is_retryable(monkeypatch):
    """No delivery is rejected, because the cloud would then discard it."""

    def add_dead_letters(*_: object) -> None:
        raise Rejected("can't be stored", field="body")

    monkeypatch.setattr(MemoryDeadLetterWriter, "add", add_dead_letters)
    store = MemoryStore()
    with pytest.raises(Retryable, match="can't be stored"):
        ingest_all(store, eventbridge("1"), poison(), eventbridge("2"))
