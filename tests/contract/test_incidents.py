"""Incidents in Postgres: one for each cause, opened and resolved once, with exact counts."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.incidents import PostgresIncidents, PostgresIncidentTurn
from helios.adapters.postgres.resolutions import PostgresResolutions
from helios.adapters.postgres.stream import PostgresOutbox
from helios.errors import Retryable
from helios.model.counts import Count
from helios.model.events import Delivery
from helios.model.flows import FlowFilter, Money
from helios.model.incidents import Acknowledge, Assign, Cause, Incident, IncidentFilter, Snooze
from helios.model.resolutions import InstanceName, ResolutionAction, ResolutionRequest, Step
from helios.model.stream import Frame
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.rule import Rule
from helios.services.incidents import CALM, MAX_REASONS, QUIET, STUCK, IncidentJob
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.resolutions import resolve
from helios.services.sweep import expire_flows, sweep
from tests.support.deliveries import NOON
from tests.support.instances import ORDER, leg
from tests.support.rule_examples import part

MISSING_PAYMENT = Cause(kind="flow", flow="order", issue="missing", legs=("payment",))
WRONG_AMOUNT = Cause(kind="flow", flow="order", issue="mismatch", legs=("order", "payment"), field="amount")
OVERDUE = FlowEvaluator(ORDER).time_to_deadline + timedelta(seconds=1)
BATCH = 500


class World:
    """A store, and the job that makes incidents of it."""

    def __init__(self, store, pool) -> None:
        self.store = store
        self.incidents = PostgresIncidents(pool)
        self.outbox = PostgresOutbox(pool)
        self.resolutions = PostgresResolutions(pool)
        self.reconciler = Reconciler((ORDER,))
        self.job = IncidentJob(self.incidents, outbox=self.outbox, counts=store)

    def ingest(self, *deliveries: Delivery) -> None:
        for first in range(0, len(deliveries), BATCH):
            batch = deliveries[first : first + BATCH]
            ingest(batch, dedupe=NullDedupeCache(), store=self.store, reconciler=self.reconciler)

    def expire(self, after: timedelta = OVERDUE) -> datetime:
        expire_flows(NOON + after, store=self.store, reconciler=self.reconciler)
        return NOON + after

    def decide(self, step: Step, *keys: str) -> ResolutionAction:
        """Take a step for these orders."""
        instances = tuple(InstanceName("order", key) for key in keys)
        request = ResolutionRequest(step=step, instances=instances, text="agreed with the bank")
        return resolve(request, resolutions=self.resolutions, flows=["order"], actor="kim", now=NOON)

    def undo(self, action: ResolutionAction) -> None:
        self.resolutions.undo(action.id or 0, actor="lee", now=NOON)

    def needing(self) -> Counter[str]:
        """How many instances with each cause need somebody, by the instances themselves."""
        records = self.store.flows(FlowFilter(), after=None, limit=500).items
        states = self.resolutions.resolutions([record.identity for record in records])
        resolved = {key for key, resolution in states.items() if resolution.state in {"accepted", "written_off"}}
        assert {record.identity for record in records if record.resolved} == resolved
        return Counter(key for record in records if record.identity not in resolved for key in record.causes)

    def counted(self) -> Counter[str]:
        """How many instances the incidents of each cause count."""
        counted: Counter[str] = Counter()
        for incident in self.all():
            assert incident.number >= 0
            counted[incident.cause.key] += incident.number
        return +counted

    def run(self, at: datetime) -> list[tuple[str, Cause]]:
        return [(transition.what, transition.incident.cause) for transition in self.job.run(at)]

    def all(self) -> list[Incident]:
        """Every incident, the first opened first."""
        return self.incidents.incidents(IncidentFilter(), after=None, limit=500).items[::-1]

    def only(self) -> Incident:
        (incident,) = self.all()
        return incident

    def count(self, source: str, minutes: Sequence[int], stored: int = 60) -> None:
        """Publish counts of a source that sent events in these minutes after noon."""
        counts = [
            Count(minute=NOON + timedelta(minutes=each), source=source, type="T", stored=stored) for each in minutes
        ]
        with self.store.transaction() as work:
            work.stream.publish(Frame(counts=counts, events=[]), [])


@pytest.fixture
def world(postgres_store, pool) -> World:
    return World(postgres_store, pool)


def incomplete(key: str, **fields: Any) -> list[Delivery]:
    """An order without its payment."""
    return [leg("order", key, **fields), leg("inventory", key, **fields)]


def test_ten_thousand_orders_broken_by_one_cause_are_one_incident_that_opens_and_resolves_once(world):
    keys = [f"ORD-{number}" for number in range(10_000)]
    currencies = ["EUR", "USD"]
    transitions = []
    for source in ("aws", "gcp", "azure"):
        world.count(source, range(-5, 40))  # other traffic: no source is silent
    for first in range(0, len(keys), 2_500):
        part = keys[first : first + 2_500]
        world.ingest(*[each for key in part for each in incomplete(key, currency=currencies[len(key) % 2])])
        transitions += world.run(world.expire())
    broken = world.only()
    world.ingest(*[leg("payment", key, after=120, currency=currencies[len(key) % 2]) for key in keys])
    transitions += world.run(NOON + OVERDUE + timedelta(seconds=1))
    transitions += world.run(NOON + OVERDUE + 2 * CALM)
    transitions += world.run(NOON + OVERDUE + 2 * QUIET)

    in_eur = sum(len(key) % 2 == 0 for key in keys)
    assert transitions == [("opened", MISSING_PAYMENT), ("resolved", MISSING_PAYMENT)]
    assert (broken.number, broken.title) == (10_000, "order: missing: payment")
    assert broken.amounts == [
        Money(currency="EUR", amount=in_eur * Decimal(10)),
        Money(currency="USD", amount=(len(keys) - in_eur) * Decimal(10)),
    ]
    resolved = world.only()
    assert (resolved.number, resolved.amounts, resolved.resolution) == (
        0,
        [],
        "Every instance is repaired or resolved",
    )


def test_an_order_with_two_causes_belongs_to_both_incidents(world):
    world.ingest(leg("order", amount=10), leg("payment", amount=7))
    world.run(NOON)
    world.run(world.expire())

    inventory = Cause(kind="flow", flow="order", issue="missing", legs=("inventory",))
    assert [(each.cause, each.number) for each in world.all()] == [(WRONG_AMOUNT, 1), (inventory, 1)]


def test_late_and_repeated_events_that_leave_the_verdict_alone_open_nothing(world):
    world.ingest(leg("order"), leg("order"), leg("payment", after=45), leg("inventory"))

    assert world.run(world.expire()) == []


def test_a_repaired_order_leaves_the_incident_that_counted_it(world):
    """An order of an incident that was resolved is repaired while the next incident of the same cause is open."""
    world.ingest(*incomplete("ORD-1"), *incomplete("ORD-2"))
    first = world.expire()
    world.run(first)
    assert world.run(first + QUIET) == [("resolved", MISSING_PAYMENT)]
    later = 3600.0
    world.ingest(leg("order", "ORD-3", after=later), leg("inventory", "ORD-3", after=later))
    second = world.expire(OVERDUE + timedelta(seconds=later))
    assert world.run(second) == [("opened", MISSING_PAYMENT)]

    world.ingest(leg("payment", "ORD-1", after=later))
    world.run(second + CALM)

    assert [each.number for each in world.all()] == [1, 1]
    assert world.all()[0].resolution == "No further instance for 10 minutes"
    assert world.all()[1].resolved_at is None


def test_orders_of_two_incidents_that_are_resolved_in_one_action_are_taken_from_both(world):
    keys = [f"ORD-{number}" for number in range(5)]
    world.ingest(*[each for key in keys for each in incomplete(key)])
    at = world.expire()
    world.run(at)
    world.run(at + QUIET)
    action = world.decide("write_off", *keys[:2])
    world.run(at + QUIET)
    world.undo(action)
    assert world.run(at + QUIET) == [("opened", MISSING_PAYMENT)]
    before = [(each.number, each.amounts) for each in world.all()]
    world.decide("write_off", *keys)
    world.run(at + QUIET)

    assert before == [(number, [Money(currency="EUR", amount=Decimal(10 * number))]) for number in (3, 2)]
    assert [(each.number, each.amounts) for each in world.all()] == [(0, []), (0, [])]


@pytest.mark.parametrize("seed", range(20))
def test_incidents_count_exactly_the_instances_with_their_cause(world, seed):
    random = Random(seed)
    deliveries = [
        leg(name, f"ORD-{number}", after=random.choice([0, 40, 700, 1500]), amount=random.choice([10, 10, 7]))
        for number in range(40)
        for name in ("order", "payment", "inventory")
        if random.random() < 0.8
    ]
    random.shuffle(deliveries)
    at = NOON
    while deliveries:
        world.ingest(*[deliveries.pop() for _ in range(min(len(deliveries), random.randint(1, 30)))])
        at += random.choice([timedelta(seconds=20), QUIET])
        expire_flows(at, store=world.store, reconciler=world.reconciler)
        if random.random() < 0.7:
            world.run(at)
    world.run(at)

    records = world.store.flows(FlowFilter(), after=None, limit=500).items
    broken = Counter(key for record in records for key in record.causes)
    assert world.counted() == broken == world.needing()
    for key in broken:
        listed = world.store.flows(FlowFilter(cause=key), after=None, limit=500).items
        assert {each.key for each in listed} == {record.key for record in records if key in record.causes}


def test_an_incident_counts_the_orders_that_need_somebody(world):
    """Each step of a person changes what the incident counts: an order that is resolved as it is needs nobody."""
    world.ingest(*incomplete("ORD-1"), *incomplete("ORD-2", currency="USD"), *incomplete("ORD-3"))
    at = world.expire()
    world.run(at)

    def counted() -> tuple[int, dict[str | None, Decimal]]:
        world.run(at)
        assert world.counted() == world.needing()
        incident = world.only()
        return incident.number, {money.currency: money.amount for money in incident.amounts}

    ten = Decimal(10)
    assert counted() == (3, {"EUR": 2 * ten, "USD": ten})
    accepted = world.decide("accept", "ORD-1", "ORD-2")
    assert counted() == (1, {"EUR": ten})
    world.decide("note", "ORD-1")
    written_off = world.decide("write_off", "ORD-1")  # it was resolved before
    assert counted() == (1, {"EUR": ten})
    world.decide("reopen", "ORD-2")
    assert counted() == (2, {"EUR": ten, "USD": ten})
    world.undo(written_off)
    assert counted() == (2, {"EUR": ten, "USD": ten})
    world.undo(accepted)  # a later step has changed both orders
    assert counted() == (2, {"EUR": ten, "USD": ten})


def test_an_incident_whose_every_order_is_resolved_ends_and_later_evidence_opens_the_next_one(world):
    world.ingest(*incomplete("ORD-1"), *incomplete("ORD-2"))
    at = world.expire()
    assert world.run(at) == [("opened", MISSING_PAYMENT)]
    world.decide("write_off", "ORD-1", "ORD-2")
    assert world.run(at + CALM) == []
    assert world.run(at + 2 * CALM) == [("resolved", MISSING_PAYMENT)]
    resolved = world.only()

    world.ingest(leg("order", "ORD-1", after=300))  # a duplicate: the payment is missing as before
    assert world.run(at + 3 * CALM) == [("opened", MISSING_PAYMENT)]

    assert (resolved.number, resolved.resolution) == (0, "Every instance is repaired or resolved")
    assert [each.number for each in world.all()] == [0, 1]
    assert world.counted() == world.needing()


@pytest.mark.parametrize("how", ["repaired", "resolved"])
def test_a_cause_that_breaks_one_order_after_the_other_is_one_incident(world, how):
    """Each order is repaired, or resolved by a person, before the next one breaks less than a minute later."""
    at, transitions = NOON, []
    for number in range(4):
        key, after = f"ORD-{number}", number * 1.9 * CALM.total_seconds()
        world.ingest(leg("order", key, after=after), leg("inventory", key, after=after))
        at = world.expire(OVERDUE + timedelta(seconds=after))
        transitions += world.run(at)
        if how == "repaired":
            world.ingest(leg("payment", key, after=after + 300))
        else:
            world.decide("accept", key)
        transitions += world.run(at + CALM)
        assert world.all()[-1].number == 0
    transitions += world.run(at + 2 * CALM - timedelta(seconds=1))

    assert transitions == [("opened", MISSING_PAYMENT)]
    assert world.run(at + 2 * CALM) == [("resolved", MISSING_PAYMENT)]


def test_a_resolution_in_the_turn_that_opens_the_incident_is_counted(world):
    """No turn ran between the verdict and the decision."""
    world.ingest(*incomplete("ORD-1"), *incomplete("ORD-2"))
    at = world.expire()
    world.decide("accept", "ORD-1")
    world.run(at)

    assert world.only().number == 1


@pytest.mark.parametrize("seed", range(12))
def test_incidents_count_exactly_the_instances_that_need_somebody(world, seed):
    """Events, deadlines, decisions, undos and turns in any order."""
    random = Random(seed)
    keys = [f"ORD-{number}" for number in range(12)]
    deliveries = [
        leg(name, key, id_=str(number), after=random.choice([0, 40, 700]), amount=random.choice([10, 10, 7]))
        for key in keys
        for name in ("order", "payment", "inventory")
        for number in range(random.choice([0, 1, 1, 2]))
    ]
    random.shuffle(deliveries)
    at, actions = NOON, []
    while deliveries:
        world.ingest(*[deliveries.pop() for _ in range(min(len(deliveries), random.randint(1, 6)))])
        at += random.choice([timedelta(seconds=20), QUIET])
        expire_flows(at, store=world.store, reconciler=world.reconciler)
        known = [record.key for record in world.store.flows(FlowFilter(), after=None, limit=500).items]
        for _ in range(random.randint(0, 3)):
            steps: list[Step] = ["accept", "write_off", "reopen", "note"]
            actions.append(world.decide(random.choice(steps), *random.sample(known, min(len(known), 3))))
        if actions and random.random() < 0.5:
            world.undo(actions.pop(random.choice([-1, random.randrange(len(actions))])))
        if random.random() < 0.5:
            world.run(at)
            assert world.counted() == world.needing()
    while actions:
        world.undo(actions.pop())
    world.run(at)
    assert world.counted() == world.needing()


def test_a_deadline_that_changes_no_verdict_opens_no_incident(world):
    """The order of the events is final at once; the instance waits for its deadline because more parts may come."""
    flow = replace(ORDER, rule=(Rule(before=("order", "payment")),))
    world.reconciler = Reconciler((flow,))
    world.ingest(leg("order"), part(flow, "payment", happened_after=-60), leg("inventory"))
    world.run(NOON)
    world.decide("accept", "ORD-1")
    world.run(NOON + timedelta(seconds=1))
    assert world.only().number == 0

    assert [what for what, _ in world.run(world.expire())] == ["resolved"]

    assert world.counted() == world.needing() == Counter()


def test_decisions_beside_ingest_lose_no_count(world):
    """A batch that has read an order before its decision evaluates the order again."""
    keys = [f"ORD-{number}" for number in range(30)]
    world.ingest(*[each for key in keys for each in incomplete(key)])
    at = world.expire()

    def ingest_more(number: int) -> None:
        world.ingest(*[leg("order", key, id_=f"more-{number}", after=300) for key in keys])

    def decide(number: int) -> None:
        action = world.decide("accept", *keys)
        if number % 2:
            world.undo(action)

    def repeat(work: Callable[[int], None], number: int) -> None:
        """As a sender does on a busy machine, where a connection takes too long."""
        while True:
            with suppress(Retryable):
                return work(number)

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(repeat, work, number) for number in range(8) for work in (ingest_more, decide)]
    assert [each.result() for each in running] == [None] * 16
    world.run(at)

    assert world.counted() == world.needing()


def test_a_sweep_wakes_the_relay_for_the_incidents_that_it_opens_and_resolves(world):
    """The process that sweeps may know no receivers."""
    wakes: list[int] = []

    class Relay:
        def notify(self) -> None:
            wakes.append(len(world.all()))

    world.ingest(*incomplete("ORD-1"))
    at = world.expire()
    for now in (at, at + timedelta(seconds=1), at + QUIET):
        sweep(now, store=world.store, reconciler=None, notifier=Relay(), incidents=world.job)

    assert wakes == [1, 1]


def test_two_jobs_at_once_open_one_incident(world):
    world.ingest(*[each for number in range(50) for each in incomplete(f"ORD-{number}")])
    at = world.expire()
    with ThreadPoolExecutor(4) as threads:
        transitions = [each for result in threads.map(world.run, [at] * 8) for each in result]

    assert transitions == [("opened", MISSING_PAYMENT)]
    assert world.only().number == 50


def test_a_turn_that_fails_is_repeated_in_full(world, monkeypatch):
    world.ingest(*incomplete("ORD-1"))
    at = world.expire()

    def fail(*_: object) -> None:
        raise RuntimeError("the process ends here")

    with monkeypatch.context() as patch:
        patch.setattr(PostgresIncidentTurn, "announce", fail)
        with pytest.raises(RuntimeError, match="ends here"):
            world.run(at)
    assert world.all() == []

    assert world.run(at) == [("opened", MISSING_PAYMENT)]
    assert world.only().number == 1


def test_a_silent_source_is_one_incident_that_counts_the_orders_which_wait_for_it(world):
    for source in ("aws", "azure"):
        world.count(source, range(-40, 4))
    world.count("gcp", range(-40, 0))
    silence = Cause(kind="silence", source="gcp")
    world.ingest(*incomplete("ORD-1", currency="USD"), *incomplete("ORD-2"))
    assert world.run(NOON + timedelta(seconds=85)) == [("opened", silence)]
    world.run(world.expire())
    waiting = world.only()
    world.count("gcp", range(2, 4))
    world.ingest(leg("payment", "ORD-1", after=100, currency="USD"))
    resolved = world.run(NOON + timedelta(seconds=125))

    assert (waiting.title, waiting.severity, waiting.number) == ("GCP is silent", "critical", 2)
    assert waiting.amounts == [Money(currency="EUR", amount=Decimal(10)), Money(currency="USD", amount=Decimal(10))]
    assert resolved == [("resolved", silence)]
    assert world.only().number == 1


def test_a_source_that_stays_silent_beyond_two_hours_keeps_its_incident(world):
    world.count("aws", range(-40, 200))
    world.count("gcp", range(-40, 0))
    silence = Cause(kind="silence", source="gcp")
    assert world.run(NOON + timedelta(minutes=2)) == [("opened", silence)]

    assert world.run(NOON + timedelta(minutes=190)) == []
    world.count("gcp", range(191, 192))
    assert world.run(NOON + timedelta(minutes=192)) == [("resolved", silence)]


def test_dead_letters_that_differ_in_their_values_only_are_one_incident(world):
    deliveries = [
        replace(leg("order"), body=leg("order").body.replace(b"T12:00", b"T12:00:00:%d" % number))
        for number in range(10, 30)
    ]
    world.ingest(*deliveries)
    assert [what for what, _ in world.run(NOON)] == ["opened"]
    incident = world.only()

    assert (incident.cause.kind, incident.cause.source, incident.cause.field) == ("dead_letters", "aws", "time")
    assert (incident.number, incident.severity) == (20, "warning")
    assert world.run(NOON + QUIET) == [("resolved", incident.cause)]


def test_senders_that_choose_many_reasons_open_a_bounded_number_of_incidents(world):
    """A contradictory event names the field that differs, and its sender names the field."""
    names = [first + second for first in "abcdefghij" for second in "abcdefghij"]
    fields: list[dict[str, Any]] = [{name: version} for version in (1, 2) for name in names]
    world.ingest(*[leg("order", id_=next(iter(field)), **field) for field in fields])
    world.run(NOON)

    *_, others = incidents = world.all()
    assert len(incidents) == MAX_REASONS + 1
    assert (others.title, others.number) == ("Dead letters of AWS: other reasons", len(names) - MAX_REASONS)


def test_a_consumer_that_stands_still_is_an_incident(world):
    world.ingest(leg("order"))
    world.outbox.number()
    with world.outbox.offset("kafka"):
        pass
    stuck = Cause(kind="consumer", consumer="kafka")
    published = world.outbox.frames(after=0, limit=1)[0].published_at
    assert world.run(published + STUCK) == []
    assert world.run(published + 2 * STUCK) == [("opened", stuck)]
    with world.outbox.offset("kafka") as offset:
        offset.commit(world.outbox.window().position)

    assert world.run(published + 3 * STUCK) == [("resolved", stuck)]


def test_users_acknowledge_assign_and_snooze_an_open_incident(world):
    world.ingest(*incomplete("ORD-1"))
    at = world.expire()
    world.run(at)
    id_ = world.only().id
    until = at + timedelta(minutes=3)
    world.incidents.act(id_, Acknowledge(), actor="kim", now=at)
    world.incidents.act(id_, Assign(assignee="payments"), actor="kim", now=at)
    world.incidents.act(id_, Snooze(until=until), actor="kim", now=at)
    incident = world.only()

    assert (incident.acknowledged_by, incident.assignee, incident.snoozed_until) == ("kim", "payments", until)
    entries = world.store.audit_log(limit=10, subject=f"incident {id_}").items
    assert [(entry.action, entry.detail.partition("; ")[2]) for entry in entries] == [
        ("incident_snoozed", f"until {until:%Y-%m-%d %H:%M:%SZ}"),
        ("incident_assigned", "to payments"),
        ("incident_acknowledged", ""),
    ]
    assert sum(world.incidents.attention(at).incidents.values()) == 0
    attention = world.incidents.attention(until)
    assert (attention.incidents, attention.serious) == ({"info": 0, "warning": 0, "error": 1, "critical": 0}, 1)
    snoozed = IncidentFilter(snoozed=True, now=at)
    assert [each.id for each in world.incidents.incidents(snoozed, after=None, limit=5).items] == [id_]
    assert world.run(until - timedelta(seconds=1)) == []
    assert world.run(until) == [("reminded", MISSING_PAYMENT)]
    assert world.run(until) == []
    world.run(at + QUIET)
    assert world.incidents.act(id_, Acknowledge(), actor="kim", now=at) is None


def test_pages_of_incidents_follow_each_other(world):
    keys = [f"ORD-{number}" for number in range(3)]
    world.ingest(
        leg("order", keys[0]), leg("payment", keys[0], amount=7), *incomplete(keys[1]), leg("payment", keys[2])
    )
    world.run(world.expire())
    first = world.incidents.incidents(IncidentFilter(state="open"), after=None, limit=2)
    second = world.incidents.incidents(IncidentFilter(state="open"), after=first.next_cursor, limit=2)

    assert second.next_cursor is None
    assert [each.id for each in [*first.items, *second.items]] == sorted(
        [each.id for each in world.all()], reverse=True
    )
    assert world.incidents.incidents(IncidentFilter(state="resolved"), after=None, limit=2).items == []
