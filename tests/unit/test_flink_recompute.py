"""What a recompute sends to the job: its records become those of rules that had always applied."""

import random
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.errors import Retryable
from helios.flink.steps import Judge, Note, Read
from helios.messages import RecomputeMessage, decode_delivery, encode_recompute, encode_verdict, topics
from helios.model.events import Delivery, EventFilter
from helios.model.flow_versions import Recompute
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evidence import EvidenceSet
from helios.reconciliation.fold import Fold
from helios.reconciliation.leg import MAX_VARIANTS, Leg
from helios.reconciliation.record import FlowKey, FlowRecord
from helios.reconciliation.rule import Rule
from helios.services.ingest import ingest
from helios.services.recompute import RecomputeJob, recompute
from helios.services.reconciler import Reconciler
from helios.services.rules import Rules
from tests.fakes.log import MemoryDeliveryLog
from tests.fakes.store import MemoryStore
from tests.support.deliveries import NOON
from tests.support.depth import examples
from tests.support.instances import ORDER, leg
from tests.support.job import Job
from tests.support.repeated import repeated_deliveries

HORIZON = timedelta(days=30)
SOON, NOW = NOON + timedelta(seconds=40), NOON + timedelta(hours=1)
LEGS = ("order", "payment", "inventory")
KEY = ("order", "ORD-1")

TWO_LEGS = replace(ORDER, leg=ORDER.leg[:2], rule=ORDER.rule[:2])
DEEPER = replace(ORDER, rule=(Rule(equal=("order.parts.first", "payment.parts.first")),))
LENIENT = replace(ORDER, rule=(Rule(equal=("order.amount", "payment.amount"), within="100"),))
HASTY = replace(ORDER, window_seconds=0.5, grace_seconds=0)
PATIENT = replace(ORDER, window_seconds=200)
OTHER_TYPE = replace(ORDER, leg=(*ORDER.leg[:2], Leg(name="inventory", type="InventoryCounted")), rule=())


class Messages(MemoryDeliveryLog):
    """A log that has only what a recompute appends."""

    def notes(self) -> list[Note]:
        """The messages as the job has them, in the order of the log."""
        effects = [Read()(value.decode(), NOON) for value in self.values]
        return [(number, each.recomputed[1]) for number, each in enumerate(effects) if each.recomputed]


class Recomputes:
    """One recompute, and where it has got to."""

    def __init__(self) -> None:
        self.cursors: list[str | None] = []

    def unfinished(self) -> list[Recompute]:
        return [Recompute(flow="order", version=1, cursor=None)]

    def advance(self, recompute: Recompute, *, cursor: str | None, events: int, instances: int, now: datetime) -> bool:
        self.cursors.append(cursor)
        return True

    def end_waiting(self, judged: Collection[str]) -> int:
        return 0


class World:
    """A job that judges by rules that change, and the store into which what it has judged is projected."""

    def __init__(self, old: Flow, new: Flow) -> None:
        self.store = MemoryStore()
        self.messages = Messages()
        self._rules = [Reconciler([old]), Reconciler([new])]
        self._judge = Judge(Fold([new]), horizon=HORIZON)
        self._job = Job(Fold([old]), topics("test"), lambda *_: None)
        self._new = new

    def take(self, deliveries: Sequence[Delivery], *, by_new: bool, projected: bool = True) -> None:
        self._job.take(deliveries)
        if projected:
            for delivery in deliveries:
                reconciler = self._rules[by_new]
                ingest([delivery], dedupe=NullDedupeCache(), store=self.store, reconciler=reconciler)

    def change_rules(self) -> None:
        self._job.take_rules(Fold([self._new]))

    def recompute(self, now=NOW) -> None:
        recompute(
            EventFilter(),
            now,
            flow=None,
            reader=self.store,
            store=self.store,
            reconciler=self._rules[1],
            log=self.messages,
        )

    def recompute_approved(self) -> None:
        """As after an approval."""
        recomputes = Recomputes()
        rules = Rules([self._new], None)
        job = RecomputeJob(recomputes, rules, reader=self.store, store=self.store, notifier=self, log=self.messages)
        job.run(NOW, seconds=60)
        assert recomputes.cursors == [None]

    def notify(self) -> None:
        """Nobody listens."""

    def act_on(self, notes: Sequence[Note], now=NOW) -> None:
        """Let the job take what the recompute has sent, by instance."""
        for note in notes:
            message = msgspec.json.decode(note[1], type=RecomputeMessage)
            identity = (message.flow, message.key)
            before = self.records().get(identity)
            record, _ = self._judge.act_on([note], encode_verdict(before).decode() if before else None, now, None)
            if record:
                self._job.records[identity] = record

    def expire(self) -> None:
        self._job.expire(NOW)

    def records(self) -> dict[FlowKey, FlowRecord]:
        return self._job.records


def judged(deliveries: Sequence[Delivery], rules: Flow) -> dict[FlowKey, FlowRecord]:
    """The records by rules that have always applied, without their versions."""
    job = Job(Fold([rules]), topics("test"), lambda *_: None)
    job.take(deliveries)
    job.expire(NOW)
    return without_versions(job.records)


def without_versions(records: dict[FlowKey, FlowRecord]) -> dict[FlowKey, FlowRecord]:
    return {identity: replace(record, version=0) for identity, record in records.items()}


# An instance that has no event left under the new rules stays as it is, as in Postgres: each begins with its order.
chosen_deliveries = st.lists(
    st.tuples(
        st.sampled_from(["order", "payment", "inventory"]),
        st.sampled_from(["ORD-1", "ORD-2"]),
        st.sampled_from("12"),
        st.sampled_from([0.0, 31.0, 120.0]),
        st.sampled_from("ab"),
    ),
    unique_by=lambda chosen: chosen[:3],
    min_size=1,
    max_size=9,
).map(
    lambda chosen: [
        *(leg("order", key, id_="0", parts={"first": "a"}) for key in ("ORD-1", "ORD-2")),
        *(leg(name, key, id_=id_, after=after, parts={"first": text}) for name, key, id_, after, text in chosen),
    ]
)


@settings(derandomize=True, database=None, max_examples=examples(200, long=2000))
@given(
    deliveries=chosen_deliveries,
    rules=st.sampled_from(
        [(TWO_LEGS, ORDER), (ORDER, DEEPER), (ORDER, TWO_LEGS), (ORDER, HASTY), (HASTY, PATIENT), (ORDER, OTHER_TYPE)]
    ),
    places=st.lists(st.integers(0, 11), min_size=3, max_size=3).map(sorted),
    seed=st.integers(0, 99),
)
def test_the_records_of_the_job_become_those_of_rules_that_had_always_applied(deliveries, rules, places, seed):
    """The rules change, later the store is recomputed, and later the job reads of it: twice, and in any order."""
    judge_by_both(deliveries, rules, places, seed)


@settings(derandomize=True, database=None, max_examples=examples(100, long=1000))
@given(
    deliveries=repeated_deliveries,
    rules=st.sampled_from([(ORDER, HASTY), (HASTY, PATIENT), (ORDER, LENIENT)]),
    places=st.lists(st.integers(0, 30), min_size=3, max_size=3).map(sorted),
    seed=st.integers(0, 99),
)
def test_duplicates_contradictions_and_overflow_are_counted_once(deliveries, rules, places, seed):
    """These rules read the same evidence. What an earlier rule did not read, no store has of a duplicate."""
    judge_by_both(deliveries, rules, places, seed)


def judge_by_both(deliveries: Sequence[Delivery], rules: tuple[Flow, Flow], places: list[int], seed: int) -> None:
    """Compare a job whose rules change with one whose rules do not.

    Args:
        deliveries: in the order of the log.
        rules: those before and after.
        places: how many deliveries were judged when the rules change, how many are projected when the store is
            recomputed, and how many were judged when the job acts on that.
        seed: the order in which it reads of it.
    """
    old, new = rules
    changed, projected, read = places
    world = World(old, new)
    world.take(deliveries[:changed], by_new=False)
    world.change_rules()
    world.take(deliveries[changed:projected], by_new=True)
    world.recompute()
    world.take(deliveries[projected:read], by_new=True, projected=False)
    notes = world.messages.notes() * 2
    random.Random(seed).shuffle(notes)
    world.act_on(notes)
    world.take(deliveries[read:], by_new=True, projected=False)
    world.expire()

    assert without_versions(world.records()) == judged(deliveries, new)


def test_a_leg_that_was_added_is_known_to_the_job():
    world = World(TWO_LEGS, ORDER)
    world.take([leg("order"), leg("inventory")], by_new=False)
    world.change_rules()
    world.recompute()
    world.act_on(world.messages.notes(), now=SOON)
    world.take([leg("payment")], by_new=True, projected=False)
    assert world.records()[KEY].status == "matched"


def test_a_deadline_that_has_become_earlier_is_acted_on_at_once():
    """The record in the store does not change: the deadline is not in it."""
    world = World(ORDER, HASTY)
    world.take([leg("order")], by_new=False)
    world.change_rules()
    before = world.store.flow(KEY)
    world.recompute_approved()
    assert world.store.flow(KEY) == before
    world.act_on(world.messages.notes(), now=SOON)
    assert (world.records()[KEY].status, world.records()[KEY].version) == ("incomplete", 2)


def test_after_an_approval_what_has_not_changed_and_does_not_wait_is_not_sent():
    world = World(ORDER, ORDER)
    world.take([leg(name) for name in LEGS], by_new=False)
    world.recompute_approved()
    assert world.messages.values == []


def test_a_job_without_its_state_gets_all_records_from_the_command():
    """As after a switch from Postgres."""
    known, empty = World(ORDER, ORDER), World(ORDER, ORDER)
    known.take([leg(name, key) for name in LEGS for key in ("ORD-1", "ORD-2")], by_new=False)
    known.take([leg("order", "ORD-3"), leg("order", "ORD-3")], by_new=False)
    known.take([leg("order", "ORD-4", id_=str(number)) for number in range(MAX_VARIANTS + 2)], by_new=False)
    assert known.records()["order", "ORD-4"].evidence_set.overflow == {"order": 2}
    known.recompute(now=SOON)
    empty.act_on(known.messages.notes(), now=SOON)
    assert without_versions(empty.records()) == without_versions(known.records())

    for world in (known, empty):
        world.take([leg("order", "ORD-1"), leg("payment", "ORD-3")], by_new=False, projected=False)
        world.expire()
    assert without_versions(empty.records()) == without_versions(known.records())


def test_a_recompute_writes_nothing_that_the_log_does_not_take():
    """So a page is evaluated again until both have it."""
    world = World(TWO_LEGS, ORDER)
    world.take([leg("order"), leg("payment"), leg("inventory")], by_new=False)
    before = world.store.flow(KEY)
    world.messages.is_down = True
    try:
        world.recompute()
    except Retryable:
        assert world.store.flow(KEY) == before
    else:
        raise AssertionError("the log was down")


def record_of(rules: Flow, *deliveries: Delivery) -> FlowRecord:
    job = Job(Fold([rules]), topics("test"), lambda *_: None)
    job.take(deliveries)
    return job.records[KEY]


def test_a_recompute_by_earlier_rules_takes_nothing_away():
    """Another approval came in between. Its own recompute follows."""
    deep = record_of(DEEPER, leg("order", parts={"first": "a" * 200}))
    plain = record_of(ORDER, leg("order", parts={"first": "a" * 200}))
    dropped = [item.identity for item in deep.evidence_set.items]
    value = encode_recompute(replace(plain, evidence_set=EvidenceSet(items=[])), dropped=dropped, generation=1)[1]
    judge = Judge(Fold([DEEPER]), horizon=HORIZON, generation=2)
    for text in (value, encode_recompute(plain, generation=1)[1]):
        after, is_written = judge.act_on([(1, text.decode())], encode_verdict(deep).decode(), SOON, None)
        assert is_written
        assert after is not None
        assert after.evidence_set == deep.evidence_set


def test_what_a_recompute_has_read_does_not_make_a_record_that_no_message_takes(monkeypatch, caplog):
    stored = encode_verdict(record_of(ORDER, leg("order")))
    note = (1, encode_recompute(record_of(ORDER, leg("order"), leg("payment")), generation=0)[1].decode())
    judge = Judge(Fold([ORDER]), horizon=HORIZON)
    monkeypatch.setattr("helios.flink.steps.MAX_RECORD_BYTES", len(stored) + 50)
    after, is_written = judge.act_on([note], stored.decode(), SOON, None)
    assert after
    assert (encode_verdict(after), is_written) == (stored, False)
    assert "too large" in caplog.text


def test_a_recompute_sends_no_message_that_the_log_refuses(monkeypatch, caplog):
    world = World(ORDER, ORDER)
    world.take([leg("order", "ORD-1"), leg("order", "ORD-2"), leg("payment", "ORD-2")], by_new=False)
    large = encode_recompute(record_of(ORDER, leg("order")), generation=None)[1]
    monkeypatch.setattr("helios.messages.MAX_RECORD_BYTES", len(large))
    world.recompute()
    (sent,) = map(decode_delivery, world.messages.values)
    assert isinstance(sent, RecomputeMessage)
    assert sent.key == "ORD-1"
    assert "too large" in caplog.text


def test_a_recompute_by_later_rules_waits_for_them():
    value = encode_recompute(record_of(ORDER, leg("order")), generation=2)[1].decode()
    assert [Judge(Fold([ORDER]), horizon=HORIZON, generation=each).must_wait(value) for each in (1, 2, 3)] == [
        True,
        False,
        False,
    ]


def test_a_recompute_of_a_flow_that_was_withdrawn_writes_nothing():
    record = record_of(ORDER, leg("order"))
    note = (1, encode_recompute(record, generation=1)[1].decode())
    judge = Judge(Fold([]), horizon=HORIZON, generation=2)
    stored = encode_verdict(record).decode()
    assert judge.act_on([note], stored, NOW, None) == (record, False)
    assert judge.act_on([note], None, NOW, None) == (None, False)


def test_an_erasure_leaves_nothing_of_what_a_recompute_had_read_before():
    """The recompute has read it before the erasure, and its message comes before or after that of the erasure."""
    record = record_of(ORDER, leg("order"))
    text = encode_recompute(record, generation=0)[1].decode()
    at = int(SOON.timestamp() * 1000)
    judge = Judge(Fold([ORDER]), horizon=HORIZON)
    for late in (-1, 0, 1):
        assert judge.act_on([(at, ""), (at + late, text)], encode_verdict(record).decode(), SOON, None) == (None, False)
    after = record_of(ORDER, leg("order", after=60))
    assert judge.act_on([(at, "")], encode_verdict(after).decode(), SOON, None) == (after, False)


def test_the_message_is_read_as_it_was_written():
    record = record_of(ORDER, leg("order"))
    key, value = encode_recompute(record, dropped=[("a", "aws", "p", "1", "c")], generation=None)
    message = decode_delivery(value)
    assert key == "ORD-1"
    assert isinstance(message, RecomputeMessage)
    assert (message.evidence_set, message.generation) == (record.evidence_set, 0)
    assert message.dropped == (("a", "aws", "p", "1", "c"),)
