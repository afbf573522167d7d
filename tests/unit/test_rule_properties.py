"""Every rule gives the same verdict for the same evidence, in whatever order and in whatever batches it arrives."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import Delivery, EventFilter
from helios.model.flows import FlowFilter, FlowInstance
from helios.normalise import normalise
from helios.reconciliation.declaration import Flow, load
from helios.reconciliation.evaluate import AFTER, BEFORE, FlowEvaluator
from helios.reconciliation.evidence import EvidenceExtractor, EvidenceSet
from helios.reconciliation.fold import Fold, Transition, decode_record, encode_record
from helios.reconciliation.leg import Leg
from helios.reconciliation.preview import preview
from helios.reconciliation.record import FlowKey, FlowRecord, differences, to_instance
from helios.reconciliation.rule import Rule
from helios.reconciliation.timeline import timeline
from helios.services.flow_preview import PreviewSources, preview_flow
from helios.services.ingest import ingest
from helios.services.recompute import recompute
from helios.services.reconciler import Reconciler
from helios.services.sweep import expire_flows
from tests.fakes.store import MemoryStore
from tests.support.deliveries import NOON
from tests.support.depth import examples
from tests.support.rule_examples import example_flows, part

LATER = NOON + timedelta(hours=1)
DAY = timedelta(days=1)
MOMENTS = (0.0, 1.0, 2.0, 3.0, 31.0, 89.0, 120.0)
SETTINGS = settings(derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TITLES = ("parcels", "refunds", "instalments", "currencies", "sequences", "overflowing", "others")

OTHERS = """
[[flow]]
name = "others"
key = "order_id"
window_seconds = 30
grace_seconds = 60

[[flow.leg]]
name = "order"
source = "aws"
type = "OrderPlaced"
currency = "currency"

[[flow.leg]]
name = "cancellation"
source = "aws"
type = "ParcelsCancelled"
optional = true
many = true
id = "cancellation_id"

[[flow.leg]]
name = "shipment"
type = "ParcelShipped"
many = true
id = "parcel.number"
at_least = "order.parcels - count(cancellation)"
at_most = "order.parcels"

[[flow.leg]]
name = "payment"
source = "gcp"
type = "InstalmentPaid"
currency = "currency"
many = true
id = "payment_id"

[[flow.leg]]
name = "reading"
type = "MeterRead"
many = true
id = "reading_id"

[[flow.rule]]
equal = ["count(shipment) + count(cancellation)", "order.parcels"]

[[flow.rule]]
at_least = ["(order.amount + 1) - 1", "sum(payment.amount)"]
in_currency = "EUR"

[[flow.rule]]
equal = ["order.currency", "payment.currency"]
unless = ["cancellation"]

[[flow.rule]]
sequence = "reading.number"

[[rate]]
currency = "USD"
to = "EUR"
rate = "0.9"

[[rate]]
currency = "USD"
to = "EUR"
rate = "1.1"
since = 2025-11-26
"""
"""What the examples of the documentation do not show: together, all flows have every kind of rule and leg."""

with TemporaryDirectory() as _folder:
    FLOWS = example_flows(Path(_folder))
    (Path(_folder) / "others.toml").write_text(OTHERS)
    (FLOWS["others"],) = load(str(Path(_folder) / "others.toml"))
# Few pieces of evidence are stored of this leg, so that examples overflow.
FLOWS["overflowing"] = replace(
    FLOWS["parcels"],
    leg=tuple(replace(leg, max_evidence=8) if leg.name == "shipment" else leg for leg in FLOWS["parcels"].leg),
)


def deliveries_of(flow: Flow, *, max_size: int, own_ids: bool = False) -> st.SearchStrategy[list[Delivery]]:
    """Deliveries of all legs of a flow, most of which agree: with three parts, every rule holds.

    Duplicates, contradictions, unreadable values and wrong numbers of parts are included. With ``own_ids``, events of
    different content have different ids.
    """
    parts = "abcdefghijkl" if flow is FLOWS["overflowing"] else "abc"

    def deliver(
        leg: str, own_id: str, id_: str, after: float, happened_after: float, other: dict[str, Any]
    ) -> Delivery:
        is_part = leg in flow.parts
        agreed = {
            "amount": 2 if is_part else 6,
            "parcels": 0 if is_part else 3,
            "quantity": 2 if leg == "shipment" else 0 if is_part else 6,
            "number": "abc".find(own_id) + 1,
            "currency": "EUR",
            "parcel": {"number": own_id},
        } | dict.fromkeys(("cancellation_id", "refund_id", "payment_id", "reading_id"), own_id)
        data = agreed | other
        id_ = f"{id_}{own_id}{sorted(other.items()) if own_ids else ''}"
        return part(flow, leg, id_=id_, after=after, happened_after=happened_after, **data)

    numbers = st.sampled_from([1, 2, 3, "2.0", 6, 9, "x", None])
    fault = st.fixed_dictionaries(
        {},
        optional={
            "amount": numbers,
            "parcels": st.sampled_from([1, 2, 4]),
            "quantity": numbers,
            "number": st.sampled_from([5, 9, "x"]),
            "currency": st.sampled_from(["eur", "USD", "GBP", None]),
        },
    )
    names = [leg.name for leg in flow.leg if leg.name != "cancellation"]
    chosen = st.lists(
        st.builds(
            deliver,
            st.sampled_from([*names, *names, *(leg.name for leg in flow.leg)]),
            st.sampled_from(parts),
            st.sampled_from("1112"),
            st.sampled_from(MOMENTS),
            st.sampled_from([0.0, 0.0, 0.0, -1.0, -3.0, -86400.0]),
            st.one_of(*[st.just({})] * 4, fault),
        ),
        max_size=max_size,
    )
    agreed = [
        deliver(name, own_id, "1", 0.0, 0.0, {})
        for name in names
        for own_id in ("abc" if name in flow.parts and name != "refund" else "a")
    ]
    base = st.one_of(st.just(agreed), st.lists(st.sampled_from(agreed), max_size=len(agreed), unique_by=id))
    return st.tuples(base, chosen).map(lambda both: [agreed[0], *both[0], *both[1]])


def sets_of(flow: Flow, deliveries: Sequence[Delivery]) -> list[EvidenceSet]:
    """A set for each delivery."""
    extractor = EvidenceExtractor([flow])
    return [
        EvidenceSet(items=[keyed.evidence])
        for delivery in deliveries
        for keyed in extractor.extract(normalise(delivery))
    ]


def merged_in_batches(evaluator: FlowEvaluator, sets: Sequence[EvidenceSet], cut_at: set[int]) -> EvidenceSet:
    """Merge each batch, and add the batches one after the other, as ingest does."""
    edges = sorted({0, len(sets), *(cut for cut in cut_at if cut < len(sets))})
    batches = [evaluator.merge(sets[start:end]) for start, end in pairwise(edges)]
    merged = batches[0]
    for batch in batches[1:]:
        merged = evaluator.merge([merged, batch])
    return merged


def comparable(evidence_set: EvidenceSet) -> EvidenceSet:
    """The evidence with all deliveries of an overflowing leg counted together.

    If a piece was only counted, and is delivered again with an earlier arrival, its deliveries are divided between the
    piece and the overflow; that division is all that depends on the order.
    """
    items = [replace(item, deliveries=0) if item.leg in evidence_set.overflow else item for item in evidence_set.items]
    return replace(
        evidence_set, items=items, overflow={leg: evidence_set.deliveries(leg) for leg in evidence_set.overflow}
    )


def records(store: MemoryStore) -> list[FlowRecord]:
    """The stored instances without their versions."""
    stored = store.flows(FlowFilter(), after=None, limit=500).items
    return [replace(record, version=0, evidence_set=comparable(record.evidence_set)) for record in stored]


def ingested(flow: Flow, deliveries: Sequence[Delivery], cut_at: set[int], *, swept: frozenset[int]) -> MemoryStore:
    """A store that has ingested the deliveries in batches, with sweeps after the deadline behind some of them."""
    store, reconciler = MemoryStore(), Reconciler([flow])
    edges = sorted({0, len(deliveries), *(cut for cut in cut_at if cut < len(deliveries))})
    for start, end in pairwise(edges):
        ingest(deliveries[start:end], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
        if end in swept:
            expire_flows(LATER, store=store, reconciler=reconciler)
    return store


cuts = st.sets(st.integers(1, 30), max_size=6)
randoms = st.randoms(use_true_random=False)


def used(structs: Sequence[Leg] | Sequence[Rule]) -> set[str]:
    """The attributes that at least one of the structs sets."""
    return {
        field.name
        for struct in structs
        for field in fields(struct)
        if getattr(struct, field.name) not in (field.default, None)
    }


def test_the_flows_have_every_kind_of_rule_and_leg():
    rules = [rule for flow in FLOWS.values() for rule in flow.rule]
    legs = [leg for flow in FLOWS.values() for leg in flow.leg]
    assert used(rules) == set(Rule.__struct_fields__)
    assert used(legs) == set(Leg.__struct_fields__) - {"verb"}  # a word for the text of issues

    bounds = {name for leg in legs for name in ("at_least", "at_most", "count") if isinstance(getattr(leg, name), str)}
    assert bounds == {"at_least", "at_most", "count"}
    assert {rule.is_relative for rule in rules if rule.within} == {True, False}
    assert {"." in rule.in_currency for rule in rules if rule.in_currency} == {True, False}
    expressions = " ".join(text for rule in rules if rule.comparison for text in rule.comparison[1])
    for part_of_grammar in ("sum(", "count(", "min(", "max(", " + ", " - ", "(order"):
        assert part_of_grammar in expressions
    assert any(rate.since for flow in FLOWS.values() for rate in flow.rate)


@pytest.mark.parametrize("title", TITLES)
def test_the_deliveries_keep_and_break_every_rule(title):
    """Otherwise the properties would say nothing about a rule."""
    flow = FLOWS[title]
    evaluators = [FlowEvaluator(replace(flow, rule=(rule,))) for rule in flow.rule]
    reached: set[tuple[int, bool]] = set()

    @settings(SETTINGS, max_examples=100)
    @given(chosen=deliveries_of(flow, max_size=14))
    def evaluate(chosen: list[Delivery]) -> None:
        evidence_set = evaluators[0].merge(sets_of(flow, chosen))
        for number, evaluator in enumerate(evaluators):
            verdict = evaluator.verdict(evidence_set, now=AFTER)
            broken = any(issue.kind in {"mismatch", "out_of_order", "gap"} for issue in verdict.issues)
            if broken or verdict.status in {"matched", "matched_late"}:
                reached.add((number, broken))

    evaluate()
    assert reached == {(number, broken) for number in range(len(flow.rule)) for broken in (True, False)}


@pytest.mark.parametrize("title", TITLES)
@settings(SETTINGS, max_examples=examples(60, long=10_000 // len(TITLES) + 1))
@given(data=st.data(), cut_at=cuts, other_cuts=cuts, random=randoms)
def test_the_verdict_is_a_function_of_the_evidence(title, data, cut_at, other_cuts, random):
    """10 000 random permutations and batchings in the long run."""
    flow = FLOWS[title]
    evaluator = FlowEvaluator(flow)
    sets = sets_of(flow, data.draw(deliveries_of(flow, max_size=30)))
    shuffled = random.sample(sets, len(sets))
    first, second = merged_in_batches(evaluator, sets, cut_at), merged_in_batches(evaluator, shuffled, other_cuts)

    assert comparable(first) == comparable(second)
    for now in (BEFORE, AFTER):
        assert evaluator.verdict(first, now=now) == evaluator.verdict(second, now=now)
    assert evaluator.verdict(first, now=AFTER).status != "open"
    assert sum(item.deliveries for item in first.items) + sum(first.overflow.values()) == len(sets)


@settings(SETTINGS, max_examples=examples(200, long=5000))
@given(values=st.lists(st.integers(-1, 4), min_size=1, max_size=8), first=st.sampled_from([None, 0, 1]))
def test_an_instance_is_complete_since_its_rules_hold(values, first):
    """Of a sequence and of a sum, one part a second: the rules hold with all parts since then."""
    sequences = replace(FLOWS["sequences"], rule=(Rule(sequence="reading.number", first=first),))
    instalments = replace(FLOWS["instalments"], rule=FLOWS["instalments"].rule[:1])
    legs = (FLOWS["instalments"].leg[0], replace(FLOWS["instalments"].leg[1], at_most=None))
    order = part(instalments, "order", amount=4)
    for flow, leg, name, before in (
        (sequences, "reading", "number", []),
        (replace(instalments, leg=legs), "payment", "amount", [order]),
    ):
        arrived = [
            part(flow, leg, id_=str(n), reading_id=n, payment_id=n, after=n, **{name: value})
            for n, value in enumerate(values)
        ]
        evaluator = FlowEvaluator(flow)
        verdicts = [
            evaluator.verdict(evaluator.merge(sets_of(flow, before + arrived[:number])), now=AFTER)
            for number in range(1, len(values) + 1)
        ]
        if verdicts[-1].status == "matched":
            broken = [n for n, verdict in enumerate(verdicts) if verdict.status == "mismatched"]
            assert verdicts[-1].match_seconds == (broken[-1] + 1 if broken else 0)


@pytest.mark.parametrize("title", TITLES)
@settings(SETTINGS, max_examples=examples(20, long=200))
@given(data=st.data(), cut_at=cuts, other_cuts=cuts, random=randoms)
def test_the_order_of_arrival_changes_no_stored_instance(title, data, cut_at, other_cuts, random):
    """Before the deadline, after it, and with sweeps between the batches."""
    flow = FLOWS[title]
    chosen = data.draw(deliveries_of(flow, max_size=14))
    shuffled = random.sample(chosen, len(chosen))
    swept = frozenset(cut for cut in other_cuts if random.random() < 0.5)

    first = ingested(flow, chosen, cut_at, swept=frozenset())
    second = ingested(flow, shuffled, other_cuts, swept=frozenset())
    assert records(first) == records(second)

    third = ingested(flow, shuffled, other_cuts, swept=swept)
    for store in (first, third):
        expire_flows(LATER, store=store, reconciler=Reconciler([flow]))
    assert records(first) == records(third)
    for record in records(first):
        assert last_verdict(flow, record) == to_instance(FlowEvaluator(flow), record).status


def last_verdict(flow: Flow, record: FlowRecord) -> str | None:
    """The status of the last verdict in the timeline."""
    return [step.status for step in timeline(FlowEvaluator(flow), record) if step.what == "verdict"][-1]


def folded(flow: Flow, partitions: Sequence[Sequence[Delivery]], random: Random) -> list[Transition]:
    """Every transition of the instances of a log whose partitions are read in turn, some deliveries at a time.

    Between two batches a record is stored as JSON, as an engine stores it.
    """
    fold = Fold([flow])
    stored: dict[FlowKey, FlowRecord] = {}
    transitions: list[Transition] = []
    unread = [list(partition) for partition in partitions if partition]
    while unread:
        partition = random.choice(unread)
        size = random.randint(1, 4)
        batch, partition[:] = partition[:size], partition[size:]
        unread = [other for other in unread if other]
        added = fold.transitions(fold.evidence([normalise(delivery) for delivery in batch]).items(), stored)
        stored |= {after.identity: decode_record(encode_record(after)) for _, after in added}
        transitions += added
    for before in stored.values():
        if before.waiting:
            assert fold.deadline(before) <= LATER
            transitions.append((before, fold.expire(before, now=LATER, silent=set())))
    return transitions


@pytest.mark.parametrize("title", TITLES)
@settings(SETTINGS, max_examples=examples(20, long=1000))
@given(data=st.data(), random=randoms)
def test_neither_batches_nor_the_order_of_partitions_change_a_final_record(title, data, random):
    """Deliveries are divided over the partitions of a log, and read in any order; and then over others."""
    flow = FLOWS[title]
    chosen = data.draw(deliveries_of(flow, max_size=14))
    finals = []
    for number_of_partitions in (1, 3, 5):
        partitions: list[list[Delivery]] = [[] for _ in range(number_of_partitions)]
        for delivery in random.sample(chosen, len(chosen)):
            random.choice(partitions).append(delivery)
        transitions = folded(flow, partitions, random)
        final = {after.identity: after for _, after in transitions}
        assert differences(transitions) == differences((None, after) for after in final.values())
        finals.append(
            {
                identity: replace(after, version=0, evidence_set=comparable(after.evidence_set))
                for identity, after in final.items()
            }
        )
    assert finals[0]
    assert finals[0] == finals[1] == finals[2]


@pytest.mark.parametrize("title", TITLES)
@settings(SETTINGS, max_examples=examples(20, long=200))
@given(data=st.data())
def test_a_recompute_and_a_preview_give_the_stored_verdicts(title, data):
    flow = FLOWS[title]
    chosen = sorted(data.draw(deliveries_of(flow, max_size=14)), key=lambda delivery: delivery.received_at)
    store = ingested(flow, chosen, set(range(1, 15, 3)), swept=frozenset())
    reconciler = Reconciler([flow])
    expire_flows(LATER, store=store, reconciler=reconciler)

    result = recompute(EventFilter(), LATER, flow=None, reader=store, store=store, reconciler=reconciler)
    assert result.changes == {}
    events = store.events(EventFilter(), after=None, limit=500).items
    recorded: list[FlowInstance] = [to_instance(FlowEvaluator(flow), record) for record in records(store)]
    if not store.dead_letters(DeadLetterFilter(), after=None, limit=1).items:  # what they hold, events do not say
        assert preview([flow], events, recorded, since=NOON - timedelta(hours=1), now=LATER).differences == []
    sources = PreviewSources(store, store, store)
    sampled = preview_flow(flow, reconciler, read_from=sources, since=NOON - DAY, now=LATER, seconds=60)
    assert sampled.changes == []
    assert sampled.problems.compared + sampled.others.compared == len(recorded)


@pytest.mark.parametrize("title", TITLES)
@settings(SETTINGS, max_examples=examples(20, long=200))
@given(data=st.data())
def test_a_recompute_applies_a_rule_as_if_it_had_always_been_declared(title, data):
    """The events were ingested by a flow of single legs without rules.

    No two have the same id and different content: only a dead letter has the nested fields of the second.
    """
    flow = FLOWS[title]
    plain = replace(
        flow,
        leg=tuple(
            replace(leg, many=False, id=None, at_least=None, at_most=None, count=None, when=(), unless=())
            for leg in flow.leg
        ),
        rule=(),
        rate=(),
    )
    # A leg without parts stores 8 pieces of evidence; the recompute can't bring back what overflowed.
    chosen = data.draw(deliveries_of(flow, max_size=4, own_ids=True))
    changed = ingested(plain, chosen, set(), swept=frozenset())
    fresh = ingested(flow, chosen, set(), swept=frozenset())
    for store, declared in ((changed, plain), (fresh, flow)):
        expire_flows(LATER, store=store, reconciler=Reconciler([declared]))
    recompute(EventFilter(), LATER, flow=None, reader=changed, store=changed, reconciler=Reconciler([flow]))

    assert records(changed) == records(fresh)
