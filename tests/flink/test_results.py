"""The same deliveries give the same records, events, counts and dead letters through the log as through Postgres."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.model.dead_letters import DeadLetter, DeadLetterFilter
from helios.model.events import Delivery, Event, EventFilter, Fault
from helios.model.flows import FlowFilter
from helios.reconciliation.fold import MAX_DEFERRAL
from helios.reconciliation.record import FlowRecord
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.sweep import expire_flows
from tests.support.instances import ORDER, sent

RECONCILER = Reconciler([ORDER])
SECOND = timedelta(seconds=1)
LATER = timedelta(minutes=10)
"""After every deadline."""

ALL = 500
"""More than a test sends."""

TOO_LARGE = Fault(reason="is larger than 10 bytes", field="body", status=413)
ODD_KEY = "a \"b\", {c}\\ 'd'\n\t;é/\u2028"


class Log:
    """Deliveries for both engines. Their time is that of the log, so that no test waits for a deadline."""

    def __init__(self, postgres_store) -> None:
        self.start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
        self.deliveries: list[Delivery] = []
        self.outcomes: list[str] = []
        self._store = postgres_store

    def leg(self, name: str, order: str, *, after: float = 0, id_: str = "1", **fields: Any) -> Delivery:
        """A leg of an order, some seconds after the start."""
        data = {"order_id": order, "customer_id": "C", "amount": Decimal("10.0"), "currency": "EUR", "quantity": 2}
        channel, type_ = {
            "order": ("eventbridge", "OrderPlaced"),
            "payment": ("cloudevents", "PaymentProcessed"),
            "inventory": ("eventgrid", "InventoryReserved"),
        }[name]
        return self.event(channel, type_, f"{order}/{name}/{id_}", data | fields, after=after)

    def event(self, channel: str, type_: str, id_: str, data: Any, *, after: float = 0) -> Delivery:
        """Any event."""
        received_at = self.start + after * SECOND
        return sent(channel, type_, data, id_=id_, received_at=received_at, happened_at=self.start - SECOND)

    def add(self, *deliveries: Delivery) -> list[Delivery]:
        """Give deliveries to Postgres, and return them."""
        outcomes = ingest(deliveries, dedupe=NullDedupeCache(), store=self._store, reconciler=RECONCILER)
        self.outcomes += [outcome.status for outcome in outcomes]
        self.deliveries += deliveries
        return list(deliveries)

    def expire(self, at: datetime) -> None:
        """Let Postgres act on deadlines."""
        expire_flows(at, store=self._store, reconciler=RECONCILER)

    def records(self) -> list[FlowRecord]:
        """All records in Postgres."""
        return list(self._store.flows(FlowFilter(), after=None, limit=ALL).items)

    def events(self) -> list[Event]:
        """All events in Postgres, sorted by their identities."""
        return sorted(self._store.events(EventFilter(), after=None, limit=ALL).items, key=lambda event: event.key)

    def dead_letters(self) -> dict[str, DeadLetter]:
        """All dead letters in Postgres by their fingerprints, as those of one attempt."""
        stored = self._store.dead_letters(DeadLetterFilter(), after=None, limit=ALL).items
        return {each.dead_letter.fingerprint: replace(each.dead_letter, attempts=1) for each in stored}

    def record(self, order: str) -> FlowRecord:
        """The record of an order in Postgres."""
        record = self._store.flow((ORDER.name, order))
        assert record is not None
        return record


@pytest.fixture
def log(postgres_store) -> Log:
    return Log(postgres_store)


def alike(record: FlowRecord) -> FlowRecord:
    """The record without its version: how often it was written depends on the batches."""
    return replace(record, version=0)


def varied(log: Log) -> list[Delivery]:
    """Deliveries with everything that a verdict and the outcome of a delivery depend on."""
    whole = [log.leg(name, "whole", after=after) for after, name in enumerate(("order", "payment", "inventory"))]
    order = log.leg("order", "spelled")
    same = replace(log.leg("order", "spelled", after=1), body=order.body.replace(b"10.0", b"10.00"))
    return [
        *whole,
        *[log.leg(name, "mismatched", after=2, amount=amount) for name, amount in (("order", 10), ("payment", 12))],
        log.leg("inventory", "mismatched", after=3),
        log.leg("order", "late", after=0),
        log.leg("payment", "late", after=1),
        log.leg("inventory", "late", after=45),
        log.leg("order", "without payment", after=3),
        log.leg("inventory", "without payment", after=4),
        *(order, order, same),
        log.leg("order", "contradicted"),
        log.leg("order", "contradicted", after=5, amount=11),
        log.leg("payment", "contradicted", id_="2", after=6),
        log.leg("payment", "replayed", after=1),
        Delivery(channel="eventbridge", body=b"{", received_at=log.start),
        Delivery(channel="pubsub", body=b"\xff", received_at=log.start),
        Delivery(channel="pubsub", body=b"x", received_at=log.start, fault=TOO_LARGE),
        log.event("eventbridge", "PageViewed", "no flow", {"page": "/"}),
        log.event("eventbridge", "OrderPlaced", "no key", {"amount": 1}),
        log.event("eventgrid", "PageViewed", "no flow", {"page": "/"}),
        *odd(log),
    ]


def odd(log: Log) -> list[Delivery]:
    """What the contract tests of flow instances send beside whole orders."""
    names = ("order", "payment", "inventory")
    endless = Raw(b"1" * 4301)
    return [
        *[log.leg(name, ODD_KEY, note=ODD_KEY) for name in names],
        log.leg("order", "long currency", currency="x" * 1000),
        *[log.leg(name, "extreme", amount=Raw(b"1e100000")) for name in names],
        *[log.leg(name, "extreme against a number", amount=Raw(b"1e100000")) for name in ("order", "inventory")],
        log.leg("payment", "extreme against a number", amount=5),
        *[log.leg("order", "unparsable", note=note) for note in (endless, endless, Raw(b"2" * 4301))],
        *[log.leg("payment", "repetitions", id_=str(number), after=number) for number in range(20)],
        log.leg("payment", "repetitions", id_="other", after=21, customer_id="D"),
        *[log.leg(name, "another customer", customer_id=name) for name in names],
        *[log.leg(name, "backwards", after=10 - 2 * place) for place, name in enumerate(names)],
        log.leg("inventory", "only one"),
    ]


def test_the_log_gives_the_same_results_as_postgres(stage, log):
    payment = log.leg("payment", "replayed", after=2)
    replay = replace(payment, headers=payment.headers | {"ce-heliosreplay": "7"})
    deliveries = [*log.add(*varied(log)), *log.add(replay)]
    log.expire(log.start + LATER)
    stage.append(deliveries)
    stage.append_value(b"not by an edge", at=log.start)
    stage.start()
    stage.heartbeat(log.start + LATER)

    expected = {record.identity: alike(record) for record in log.records()}
    assert {key for _, key in expected} >= {"whole", "late", "replayed", ODD_KEY, "repetitions", "extreme"}
    stage.results.wait(
        lambda results: (
            results.total().received == len(deliveries) + 1
            and len(results.events) >= len(log.events())
            and len({each.fingerprint for each in results.dead_letters}) > len(log.dead_letters())
            and {key: alike(record) for key, record in results.records().items()} == expected
        )
    )
    assert {record.status for record in expected.values()} == {"matched", "matched_late", "mismatched", "incomplete"}
    total = stage.results.total()
    assert {
        "stored": total.stored,
        "duplicate": total.duplicate,
        "contradictory": total.contradictory,
        "rejected": total.rejected - 1,
    } == {status: log.outcomes.count(status) for status in ("stored", "duplicate", "contradictory", "rejected")}
    assert sorted(stage.results.events, key=lambda event: event.key) == log.events()
    dead_letters = {
        dead_letter.fingerprint: replace(dead_letter, attempts=1) for dead_letter in stage.results.dead_letters
    }
    (foreign,) = dead_letters.keys() - log.dead_letters().keys()
    assert "is no message of an edge" in dead_letters.pop(foreign).reason
    assert dead_letters == log.dead_letters()
    for records in stage.results.verdicts.values():
        assert [record.version for record in records] == list(range(1, len(records) + 1))


def test_a_silent_source_defers_deadlines_in_the_time_of_the_log(stage, log):
    """All of it is in the log before the job starts, as after an outage of the job."""
    channels = {"eventbridge": 40, "cloudevents": 40, "eventgrid": 30}
    history = [
        log.event(channel, "PageViewed", f"{channel}/{minute}/{number}", {}, after=60 * minute + number)
        for channel, minutes in channels.items()
        for minute in range(minutes)
        for number in range(4)
    ]
    waiting = [log.leg("order", "waiting", after=60 * 30), log.leg("payment", "waiting", after=60 * 30)]
    back = log.leg("inventory", "waiting", after=60 * 39)
    moment = log.start + timedelta(minutes=35)
    before = [delivery for delivery in (*history, *waiting) if delivery.received_at < moment]
    log.add(*before)
    log.expire(moment)
    deferred = log.record("waiting")
    assert (deferred.status, deferred.waiting) == ("open", True)
    assert deferred.evidence_set.deferred_until == deferred.opened_at + timedelta(seconds=90) + MAX_DEFERRAL

    stage.append(sorted(before, key=lambda delivery: delivery.received_at))
    stage.start()
    stage.heartbeat(moment)
    stage.results.wait(lambda results: results.records().get((ORDER.name, "waiting")) is not None)
    stage.results.wait(lambda results: alike(results.records()[ORDER.name, "waiting"]) == alike(deferred))
    assert {record.status for record in stage.results.verdicts[ORDER.name, "waiting"]} == {"open"}

    log.add(back)
    stage.append([back])
    expected = alike(log.record("waiting"))
    stage.results.wait(lambda results: alike(results.records()[ORDER.name, "waiting"]) == expected)
