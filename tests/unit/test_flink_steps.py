"""The steps of the job on Flink: for each message, the effects that the same delivery has on Postgres."""

import random
from collections import Counter
from datetime import timedelta

import msgspec
import pytest
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.flink.rules import TaskRules
from helios.flink.steps import (
    Effects,
    Identify,
    Judge,
    Read,
    Silence,
    Totals,
    encode_record,
    milliseconds_after,
    moment,
)
from helios.messages import (
    decode_count,
    decode_dead_letter,
    decode_event,
    decode_verdict,
    encode_count,
    encode_delivery,
    encode_erasure,
    encode_heartbeat,
    encode_rules,
    encode_verdict,
)
from helios.model.counts import Count
from helios.model.dead_letters import BEYOND_HORIZON
from helios.model.events import ERASED, Event
from helios.model.flow_versions import InForce
from helios.model.retention import MAX_AHEAD
from helios.normalise import normalise
from helios.reconciliation.declaration import shipped_text
from helios.reconciliation.fold import MAX_DEFERRAL, Fold
from helios.reconciliation.silence import LOOKBACK
from helios.services.identity import is_beyond_horizon
from helios.services.ingest import ingest
from helios.services.reading import read
from helios.services.reconciler import Reconciler
from helios.services.sweep import expire_flows
from tests.fakes.store import MemoryStore
from tests.support.deliveries import NOON, poison
from tests.support.instances import ORDER, leg

FOLD = Fold([ORDER])
HORIZON = timedelta(days=30)
OVERDUE = NOON + timedelta(minutes=5)
LEGS = ("order", "payment", "inventory")
SILENT = '{"order":["azure"]}'


class Steps:
    """The steps with the state that Flink keeps for them."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.records: dict[str, str] = {}
        self.effects: list[Effects] = []
        self._read, self._identify = Read(), Identify(FOLD, horizon=HORIZON)
        self._judge = Judge(FOLD, horizon=HORIZON)

    def take(self, value: bytes) -> Effects:
        """Run a message of the log through all steps."""
        effects = self._read(value.decode(), NOON)
        for key in effects.erased_events:
            self.known[key] = self._identify(ERASED, None).known or ""
        if effects.identified:
            key, item = effects.identified
            effects = self._identify(item, self.known.get(key))
            if effects.known:
                self.known[key] = effects.known
        for key, evidence in effects.evidence:
            record = self._judge.add(evidence, self.records.get(key))
            self.records |= {key: encode_record(record)[1]} if record else {}
        self.effects.append(effects)
        return effects

    def expire(self, key: str, now, silent: str | None = None) -> bool:
        """Act on the deadline of a record; whether that changes it."""
        record, changed = self._judge.expire(self.records[key], now, silent)
        self.records[key] = encode_record(record)[1]
        return changed


def deliveries():
    """Legs of a few orders: complete, contradictory, sent twice, missing."""
    batch = [leg(name, f"ORD-{number}", id_=str(number)) for number in range(8) for name in LEGS]
    batch += [leg("order", f"ORD-{number}", id_=str(number)) for number in range(4)]
    batch += [leg("payment", f"ORD-{number}", id_="again", amount=11) for number in range(2)]
    batch += [leg("inventory", "ORD-9")]
    return batch


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_arrival_gives_the_records_of_the_store(seed):
    shuffled = deliveries()
    random.Random(seed).shuffle(shuffled)
    store, reconciler, steps = MemoryStore(), Reconciler([ORDER]), Steps()
    outcomes = ingest(deliveries(), dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
    expire_flows(OVERDUE, store=store, reconciler=reconciler)
    for delivery in shuffled:
        steps.take(encode_delivery(delivery))

    for key in list(steps.records):
        steps.expire(key, OVERDUE)
        record = decode_verdict(steps.records[key])
        stored = store.flow(record.identity)
        assert stored is not None
        assert replace(record, version=0) == replace(stored, version=0)
    counted = Counter[str]()
    for effects in steps.effects:
        assert effects.counted
        count = decode_count(effects.counted[1])
        counted.update({name: getattr(count, name) for name in ("stored", "duplicate", "contradictory", "rejected")})
    assert +counted == Counter(outcome.status for outcome in outcomes)
    events = [decode_event(effects.event[1]) for effects in steps.effects if effects.event]
    assert len(events) == len({event.key for event in events}) == counted["stored"]


def test_a_heartbeat_has_no_effects():
    assert Steps().take(encode_heartbeat(NOON)) == Effects()


def rules_message(generation: int, **texts: str) -> bytes:
    return encode_rules(InForce(generation=generation, texts=texts))[1]


def test_a_message_with_rules_is_passed_on_as_it_is():
    value = rules_message(1, order=shipped_text())
    assert Steps().take(value) == Effects(rules=value.decode())


def test_a_task_takes_later_rules_only():
    rules = TaskRules([ORDER])
    lenient = shipped_text().replace('within = "0.01"', 'within = "100"')
    other = '[[flow]]\nname = "other"\nkey = "id"\nwindow_seconds = 1\ngrace_seconds = 1\n'
    other += "".join(f'[[flow.leg]]\nname = "{name}"\ntype = "{name}"\n' for name in ("a", "b"))
    assert rules.take(rules_message(2, order=lenient, other=other).decode())
    assert (rules.generation, set(rules.fold.evaluators)) == (2, {"order", "other"})
    assert rules.fold.evaluators["order"].flow.rule[0].within == "100"
    assert not rules.take(rules_message(2).decode())
    assert not rules.take(rules_message(1).decode())
    assert rules.take(rules_message(3).decode())
    assert list(rules.fold.evaluators) == ["order"]


def test_a_version_does_not_replace_a_flow_of_the_file():
    rules = TaskRules([ORDER], file="flows.toml")
    rules.take(rules_message(1, order=shipped_text().replace('within = "0.01"', 'within = "100"')).decode())
    assert rules.fold.evaluators["order"].flow == ORDER


def test_after_an_erasure_a_delivery_is_a_duplicate_and_no_evidence():
    steps, delivery = Steps(), leg("order")
    event = read(delivery).content
    assert isinstance(event, Event)
    steps.take(encode_delivery(delivery))
    before = dict(steps.records)
    effects = steps.take(encode_erasure([event.key], [("order", "ORD-1")])[1])
    assert list(effects.erased_instances) == list(before) == ["order/ORD-1"]

    for redelivered in (delivery, leg("order", amount=11)):
        effects = steps.take(encode_delivery(redelivered))
        assert (effects.event, list(effects.evidence), effects.dead_letter, effects.known) == (None, [], None, None)
        assert effects.counted
        assert decode_count(effects.counted[1]).duplicate == 1
    assert steps.records == before
    assert list(steps.known.values()) == [ERASED]


def test_an_erased_record_has_only_evidence_that_was_received_afterwards():
    steps = Steps()
    for name, after in (("order", 0), ("payment", 5)):
        steps.take(encode_delivery(leg(name, after=after)))
    judge = Judge(FOLD, horizon=HORIZON)
    (stored,) = map(decode_verdict, steps.records.values())
    left = judge.erase(stored, NOON + timedelta(seconds=5))
    assert left is not None
    assert [item.leg for item in left.evidence_set.items] == ["payment"]
    assert left.version == stored.version + 1
    assert judge.erase(stored, NOON + timedelta(seconds=6)) is None


def test_evidence_by_later_rules_waits_for_them():
    identified = Read()(encode_delivery(leg("order")).decode(), NOON).identified
    assert identified
    ((_, evidence),) = Identify(FOLD, horizon=HORIZON, generation=2)(identified[1], None).evidence
    waits = [Judge(FOLD, horizon=HORIZON, generation=each).waits_for_rules(evidence) for each in (1, 2, 3)]
    assert waits == [True, False, False]


def test_evidence_of_a_flow_that_was_withdrawn_changes_nothing():
    identified = Read()(encode_delivery(leg("order")).decode(), NOON).identified
    assert identified
    ((_, evidence),) = Identify(FOLD, horizon=HORIZON)(identified[1], None).evidence
    assert Judge(Fold([]), horizon=HORIZON, generation=1).add(evidence, None) is None


@pytest.mark.parametrize("value", [b"", b"[]", b'{"kind": "delivery"}', b'{"kind": "delivery", "channel": "nosuch"}'])
def test_a_message_of_no_edge_becomes_a_dead_letter(value):
    effects = Steps().take(value)
    assert effects.dead_letter
    dead_letter = decode_dead_letter(effects.dead_letter[1])
    assert (dead_letter.body, dead_letter.field, dead_letter.received_at) == (value, "body", NOON)
    assert dead_letter.reason.startswith("is no message of an edge of Helios")


def test_a_message_without_a_value_becomes_a_dead_letter():
    assert Read()(None, NOON) == Read()("", NOON)
    assert Read()(None, NOON).dead_letter


def test_a_body_that_is_no_base64_becomes_a_dead_letter():
    value = encode_delivery(replace(poison(), body=b"\xff"))
    assert b'"/w=="' in value
    effects = Steps().take(value.replace(b'"/w=="', b'"/"'))
    assert effects.dead_letter
    assert "is no message of an edge" in decode_dead_letter(effects.dead_letter[1]).reason
    assert effects.counted


def test_what_can_not_be_read_becomes_a_dead_letter_with_its_body():
    effects = Steps().take(encode_delivery(poison()))
    assert effects.dead_letter
    assert decode_dead_letter(effects.dead_letter[1]).body == poison().body
    assert not effects.event
    assert not effects.evidence


@pytest.mark.parametrize(("accept", "stored"), [(False, False), (True, True)])
def test_an_event_beyond_the_horizon_is_stored_only_if_a_person_accepts_it(accept, stored):
    late = leg("order", after=HORIZON.total_seconds() + 60)
    effects = Steps().take(encode_delivery(late, accept=accept))
    assert bool(effects.event) == bool(effects.evidence) == stored
    if not stored:
        assert effects.dead_letter
        assert decode_dead_letter(effects.dead_letter[1]).reason == BEYOND_HORIZON


@pytest.mark.parametrize("ahead", [timedelta(0), MAX_AHEAD])
def test_an_identity_is_known_for_as_long_as_its_event_is_accepted(ahead):
    """The clock of a sender may be ahead; then its event is accepted for longer."""
    event = replace(normalise(leg("order")), time=NOON + ahead)
    forget_at = Identify(FOLD, horizon=HORIZON).forget_at(event.received_at)
    later = replace(event, received_at=forget_at + timedelta(seconds=2))
    assert is_beyond_horizon(later, HORIZON)
    assert not is_beyond_horizon(event, HORIZON)


def test_a_defect_of_helios_makes_a_dead_letter_and_holds_up_no_other_event(monkeypatch, caplog):
    def fail(*_: object, **__: object):
        raise KeyError("defect")

    monkeypatch.setattr("helios.flink.steps.classify", fail)
    effects = Steps().take(encode_delivery(leg("order")))
    assert effects.dead_letter
    assert "Internal error (KeyError)" in decode_dead_letter(effects.dead_letter[1]).reason
    assert "internal error" in caplog.text


def test_a_defect_of_the_judge_leaves_the_record_as_it_was(monkeypatch, caplog):
    steps = Steps()
    steps.take(encode_delivery(leg("order")))
    before = dict(steps.records)
    monkeypatch.setattr(FOLD, "add", None)
    assert steps.take(encode_delivery(leg("payment"))).event
    assert steps.records == before
    assert "internal error" in caplog.text


def test_a_record_that_no_message_takes_stays_as_it_was(monkeypatch, caplog):
    """Kafka would refuse it, and the job would start again at the same delivery."""
    steps = Steps()
    steps.take(encode_delivery(leg("order")))
    before = dict(steps.records)
    monkeypatch.setattr("helios.flink.steps.MAX_RECORD_BYTES", len(before["order/ORD-1"]) + 50)
    assert steps.take(encode_delivery(leg("payment"))).event
    assert steps.records == before
    assert "too large" in caplog.text

    monkeypatch.undo()
    steps.take(encode_delivery(leg("payment")))
    assert len(decode_verdict(steps.records["order/ORD-1"]).evidence_set.items) == 2


def test_a_deadline_changes_a_record_once_and_is_deferred_while_a_source_is_silent():
    steps = Steps()
    for name in ("order", "payment"):
        steps.take(encode_delivery(leg(name)))
    (key,) = steps.records
    assert not steps.expire(key, NOON + timedelta(seconds=89))
    assert steps.expire(key, OVERDUE, SILENT)
    record = decode_verdict(steps.records[key])
    assert (record.status, record.waiting) == ("open", True)
    assert not steps.expire(key, OVERDUE + timedelta(seconds=30), SILENT)
    assert steps.expire(key, OVERDUE + MAX_DEFERRAL, SILENT)
    assert decode_verdict(steps.records[key]).status == "incomplete"
    assert not steps.expire(key, OVERDUE + MAX_DEFERRAL)


def test_a_record_of_a_flow_that_is_no_longer_declared_stays_as_it_is():
    steps = Steps()
    steps.take(encode_delivery(leg("order")))
    (record,) = map(decode_verdict, steps.records.values())
    steps.records = {"gone/ORD-1": encode_verdict(replace(record, flow="gone")).decode()}
    assert not steps.expire("gone/ORD-1", OVERDUE)
    assert Judge(Fold([]), horizon=HORIZON).deadline(record) is None


def test_counts_add_up_under_the_key_of_their_minute_source_and_type():
    count = encode_count(Count(minute=NOON, source="aws", type="OrderPlaced", stored=1, duplicate=2)).decode()
    total = Totals.add(count, Totals.add(count, None))
    assert msgspec.json.decode(total)["duplicate"] == 4
    assert Totals.key(count) == Totals.key(total) == "2025-11-26T12:00Z/aws/OrderPlaced"


def test_silence_is_found_in_the_counts_of_all_sources():
    def count(source: str, minute: int) -> str:
        at = NOON + timedelta(minutes=minute)
        return encode_count(Count(minute=at, source=source, type="OrderPlaced", stored=30)).decode()

    minutes = {"aws": 40, "gcp": 40, "azure": 30}
    counts = {f"{source}/{minute}": count(source, minute) for source, end in minutes.items() for minute in range(end)}
    silence = Silence(FOLD)
    assert silence(counts, NOON + timedelta(minutes=35)) == SILENT
    assert silence(counts, NOON + timedelta(minutes=29)) == "{}"
    assert not silence.is_over(count("aws", 0), NOON + LOOKBACK)
    assert silence.is_over(count("aws", 0), NOON + LOOKBACK + timedelta(minutes=2))


def test_times_of_flink_are_milliseconds_and_never_before_the_moment():
    at = NOON + timedelta(microseconds=1)
    assert moment(milliseconds_after(NOON)) == NOON
    assert moment(milliseconds_after(at)) == NOON + timedelta(milliseconds=1)
