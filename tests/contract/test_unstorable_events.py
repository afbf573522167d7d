"""Events that the database refuses: which they are, what the answer says, and how long the search for them takes."""

import json
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.errors import Rejected
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import MAX_ID_CHARS, Channel, Delivery, Event, EventFilter
from helios.normalise import normalise
from helios.services.batch_write import BatchWrite
from helios.services.batching import MAX_BATCH
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from tests.support.deliveries import NOON, eventbridge, eventgrid, poison
from tests.support.instances import ORDER

PAYLOADS = Path(__file__).parents[1] / "payloads"
GOLDEN = sorted(PAYLOADS.glob("*/*.event.json"))


def ingest_all(store, deliveries):
    return ingest(deliveries, dedupe=NullDedupeCache(), store=store, reconciler=Reconciler([ORDER]))


def golden(path: Path) -> Delivery:
    """The delivery beside an event of the golden pairs."""
    stem = path.name.removesuffix(".event.json")
    headers = path.with_name(f"{stem}.headers.json")
    return Delivery(
        channel=msgspec.convert(path.parent.name, Channel),
        body=path.with_name(f"{stem}.in.json").read_bytes(),
        headers=json.loads(headers.read_text()) if headers.exists() else {},
        received_at=NOON,
    )


class CountingStore(PostgresStore):
    """A store that counts its transactions."""

    transactions = 0

    @contextmanager
    def transaction(self):
        self.transactions += 1
        with super().transaction() as work:
            yield work


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.name.split('.')[0]}")
def test_every_golden_event_is_stored_as_it_is(store, path):
    """Whatever ``normalise`` accepts, the store accepts, and the stored event is the same."""
    delivery = golden(path)
    (outcome,) = ingest_all(store, [delivery])

    assert (outcome.status, outcome.reason) == ("stored", None)
    assert store.event(outcome.event.key) == normalise(delivery)


def unusual() -> dict[str, Delivery]:
    """Valid deliveries whose values are as unusual as JSON and the channels allow."""
    digits = "".join(str((number * 7919 + 3) % 9 + 1) for number in range(3000))
    details = {
        "null": "null",
        "order number of 3000 digits": f'{{"order_id":{digits}}}',
        "negative order number": f'{{"order_id":-{digits}}}',
        "order number of 3000 digits, other spelling": f'{{"orderId":{digits}}}',
        "customer number of 3000 digits": f'{{"customer_id":{digits}}}',
        "order number of 3000 digits beside an odd customer": f'{{"order_id":{digits},"customer_id":[]}}',
        "small amount": '{"amount":1e-17}',
        "tiny amount": '{"amount":"1e-99999999"}',
        "huge amount": '{"amount":1e99999}',
        "large number": digits * 30,
        "noncharacters": r'{"a":"\uffff\u0001"}',
        "repeated key": '{"a":1,"a":2}',
    }
    times = {"first day": "0001-01-01T00:00:00+14:00", "last day": "9999-12-31T23:59:59.999999-14:00"}
    template = '{"id":%s,"detail-type":"OrderPlaced","source":"s","time":"%s","detail":%s}'
    bodies = {name: template % (json.dumps(name), "2025-11-26T12:00:00Z", detail) for name, detail in details.items()}
    bodies |= {name: template % (json.dumps(name), time, '{"order_id":"O"}') for name, time in times.items()}
    widest = "".join(chr(0x1F300 + number % 700) for number in range(0, MAX_ID_CHARS * 13, 13))
    bodies["widest id"] = template % (json.dumps(widest), times["last day"], json.dumps({"order_id": widest}))
    return {
        name: Delivery(channel="eventbridge", body=body.encode(), received_at=NOON) for name, body in bodies.items()
    }


@pytest.mark.parametrize("name", unusual())
def test_the_database_stores_whatever_normalise_accepts(store, name):
    (outcome,) = ingest_all(store, [unusual()[name]])

    assert (outcome.status, outcome.reason) == ("stored", None)


def unstorable(event: Event) -> Event:
    """The event with an order id for which the index has no room."""
    return replace(event, order_id="".join(chr(0x1F300 + number * 7919 % 700) for number in range(9000)))


def refuse_in_postgres(monkeypatch):
    """Let Postgres refuse the events of one type, as if ``normalise`` had overlooked something."""
    real = normalise
    monkeypatch.setattr(
        "helios.services.reading.normalise",
        lambda delivery: unstorable(event) if (event := real(delivery)).type == "Refused" else event,
    )


def test_no_word_of_postgres_is_in_the_answer_or_the_dead_letter(postgres_store, monkeypatch, caplog):
    """The reason names the class of the error; the message of Postgres, with its names, goes to the log."""
    refuse_in_postgres(monkeypatch)
    (outcome,) = ingest_all(postgres_store, [eventbridge("1", type_="Refused")])

    assert outcome.reason == "can't be stored: exceeds a limit of the database (SQLSTATE 54000)"
    (stored,) = postgres_store.dead_letters(DeadLetterFilter(), after=None, limit=10).items
    assert stored.dead_letter.reason == outcome.reason
    assert any("index" in getattr(record, "error", "") for record in caplog.records)


@pytest.mark.parametrize("refused", [1, 20, 60])
def test_refused_events_are_found_in_few_transactions(pool, postgres_store, monkeypatch, refused):
    """All refused events of a batch become dead letters together, and all others are stored."""
    refuse_in_postgres(monkeypatch)
    bad = {number * 60 // refused for number in range(refused)}
    batch = [eventbridge(str(number), type_="Refused" if number in bad else "OrderPlaced") for number in range(60)]
    counting = CountingStore(pool)
    outcomes = ingest_all(counting, batch)

    assert [outcome.status == "rejected" for outcome in outcomes] == [number in bad for number in range(60)]
    assert counting.transactions <= 3
    assert len(postgres_store.events(EventFilter(), after=None, limit=100).items) == 60 - refused
    assert len(postgres_store.dead_letters(DeadLetterFilter(), after=None, limit=100).items) == refused
    assert sum(count.rejected for count in postgres_store.minutes(NOON)) == refused


def test_the_search_has_a_limit(store, monkeypatch):
    """Where very many can't be stored, the events that are still suspect become dead letters without an attempt."""
    attempts = []
    write = BatchWrite.run

    def run(self):
        attempts.append(len(self.readings))
        if any(event.type == "Defective" for event in self.events):
            raise KeyError("defective")
        return write(self)

    monkeypatch.setattr(BatchWrite, "run", run)
    monkeypatch.setattr("helios.services.ingest.SEARCH_ATTEMPTS", 40)
    defective = [eventbridge(str(number), type_="Defective") for number in range(499)]
    batch = [eventgrid("good"), *defective, poison()]
    outcomes = ingest_all(store, batch)

    assert [outcome.status for outcome in outcomes[1:]] == ["rejected"] * 500
    assert len(attempts) <= 50
    assert len(store.dead_letters(DeadLetterFilter(), after=None, limit=1000).items) >= 500
    assert "is not valid JSON" in (outcomes[-1].reason or "")
    assert sum(count.rejected for count in store.minutes(NOON)) >= 500


def test_a_batch_that_can_hold_several_requests_is_searched_whole(store, monkeypatch):
    """A good event in it becomes no dead letter, however many others can't be stored."""
    write = BatchWrite.run

    def run(self):
        if any(event.type == "Defective" for event in self.events):
            raise KeyError("defective")
        return write(self)

    monkeypatch.setattr(BatchWrite, "run", run)
    batch = [eventbridge(str(number), type_="Defective") for number in range(MAX_BATCH - 1)]
    outcomes = ingest_all(store, [*batch[:200], eventgrid("good"), *batch[200:]])

    assert [number for number, outcome in enumerate(outcomes) if outcome.status == "stored"] == [200]
    assert not any("too many" in (outcome.reason or "") for outcome in outcomes)


def test_events_that_fail_only_together_are_still_stored_or_dead_lettered(store, monkeypatch):
    """A bug that two events trigger only in one batch costs nobody an event."""
    write = BatchWrite.run

    def run(self):
        if sum(event.type == "Defective" for event in self.events) > 1:
            raise KeyError("two at once")
        return write(self)

    monkeypatch.setattr(BatchWrite, "run", run)
    batch = [eventbridge("1", type_="Defective"), eventgrid("2"), eventbridge("3", type_="Defective")]
    outcomes = ingest_all(store, batch)

    assert [outcome.status for outcome in outcomes] == ["stored", "stored", "stored"]


def test_a_trial_leaves_nothing_behind(store):
    """Its writes are undone, and the unit of work can still write."""
    first, second = normalise(eventbridge("1")), normalise(eventbridge("2"))
    with store.transaction() as work:
        with work.trial():
            work.events.insert([first])
        assert work.events.insert([second]).result() == {second.key}

    assert store.event(first.key) is None
    assert store.event(second.key) is not None


def insert_and_fail(work, event):
    work.events.insert([event])
    raise ZeroDivisionError


def insert_and_read(work, events):
    """Send several statements at once, the first of which fails."""
    inserted = [work.events.insert([event]) for event in events]
    work.events.digests([event.key for event in events])
    return [pending.result() for pending in inserted]


def test_a_failed_trial_leaves_the_unit_of_work_usable(postgres_store):
    first, second = unstorable(normalise(eventbridge("1"))), normalise(eventbridge("2"))
    with postgres_store.transaction() as work:
        with pytest.raises(Rejected, match="SQLSTATE 54000"), work.trial():
            work.events.insert([first])
        with pytest.raises(ZeroDivisionError), work.trial():
            insert_and_fail(work, second)
        for _ in range(100):
            with pytest.raises(Rejected, match="SQLSTATE 54000"), work.trial():
                insert_and_read(work, [first, second])
        assert work.events.insert([second]).result() == {second.key}

    assert postgres_store.event(first.key) is None
    assert postgres_store.event(second.key) is not None


def test_an_event_without_data_keeps_its_null(store):
    """The data of an event without data is JSON null, in every channel that allows it."""
    cloudevent = {"specversion": "1.0", "id": "c", "type": "T", "source": "s", "cloud": "gcp"}
    batch = [
        Delivery(channel="cloudevents", body=json.dumps(cloudevent).encode(), received_at=NOON),
        Delivery(
            channel="eventgrid",
            body=b'{"id":"g","eventType":"T","eventTime":"2025-11-26T12:00:00Z","data":null}',
            received_at=NOON,
        ),
    ]
    outcomes = ingest_all(store, batch)

    assert [outcome.status for outcome in outcomes] == ["stored", "stored"]
    assert [store.event(outcome.event.key).data for outcome in outcomes] == [msgspec.Raw(b"null")] * 2
    assert [outcome.status for outcome in ingest_all(store, batch)] == ["duplicate", "duplicate"]
