"""Stories, on every store: what the clouds tell of one order becomes one verdict, however it arrives."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count, pairwise, permutations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.stream import PostgresOutbox
from helios.model.flows import FlowFilter, FlowInstance
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.record import to_instance
from helios.reconciliation.silence import silent
from helios.reconciliation.summary import amounts_at_risk
from helios.reconciliation.timeline import timeline
from helios.services.ingest import ingest
from helios.services.reconciler import MAX_DEFERRAL, MIN_ROWS_TO_HALVE, Reconciler
from helios.services.sweep import expire_flows
from tests.fakes.store import MemoryOutbox, MemoryStore
from tests.support.deliveries import NOON
from tests.support.depth import examples
from tests.support.instances import ORDER, SHIPMENT, leg, sent

RECONCILER = Reconciler([ORDER, SHIPMENT])
OVERDUE = NOON + timedelta(minutes=5)
ALL = timedelta(days=365)

SAME_EVERY_TIME = settings(derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest):
    """Every store we ship; each passes every test below."""
    return request.getfixturevalue(f"{request.param}_store")


def take_in(store, *deliveries):
    return ingest(deliveries, dedupe=NullDedupeCache(), store=store, reconciler=RECONCILER)


def instance(store, key: str = "ORD-1", flow=ORDER) -> FlowInstance:
    return to_instance(FlowEvaluator(flow), store.flow((flow.name, key)))


def kinds(row: FlowInstance) -> list[str]:
    return [issue.kind for issue in row.issues]


def verdicts(store, key: str = "ORD-1") -> list[tuple[int | None, str | None, float]]:
    """Each by its number, its words and its second."""
    steps = timeline(FlowEvaluator(ORDER), store.flow(("order", key)))
    return [(step.version, step.status, (step.at - NOON).total_seconds()) for step in steps if step.what == "verdict"]


def statuses(store) -> dict[str, int]:
    """The sums, which must say what the rows say."""
    counts = store.flow_counts(None, since=NOON - ALL, until=NOON + ALL, bucket=2 * ALL)
    return {one.value: one.instances for one in counts if one.what == "status" and one.instances}


def risks(store) -> list[tuple[str | None, Decimal]]:
    """What is at risk, by currency."""
    counts = store.flow_counts("order", since=NOON - ALL, until=NOON + ALL, bucket=2 * ALL)
    return [(money.currency, money.amount) for money in amounts_at_risk(counts)]


def test_three_legs_that_agree_match(store):
    take_in(store, leg("order"))
    assert instance(store).status == "open"
    take_in(store, leg("payment", after=1), leg("inventory", after=2.5))
    row = instance(store)

    assert (row.status, row.issues, row.amount) == ("matched", [], Decimal("10.00"))
    assert row.time_to_match_seconds == 2.5
    assert row.settled_at == NOON + timedelta(seconds=2.5)
    assert [(one.name, one.source, one.state) for one in row.legs] == [
        ("order", "aws", "present"),
        ("payment", "gcp", "present"),
        ("inventory", "azure", "present"),
    ]
    assert statuses(store) == {"matched": 1}


def test_an_amount_that_is_spelled_otherwise_agrees_and_one_that_differs_does_not(store):
    take_in(store, leg("order", amount=Decimal("10.0")), leg("payment", amount=10), leg("inventory"))
    take_in(store, leg("order", "ORD-2"), leg("payment", "ORD-2", amount=Decimal("10.02")), leg("inventory", "ORD-2"))

    assert instance(store).status == "matched"
    row = instance(store, "ORD-2")
    assert (row.status, kinds(row)) == ("mismatched", ["mismatch"])
    assert row.issues[0].values == {"order": "10", "payment": "10.02"}
    assert row.issues[0].detail == "amount: AWS ordered 10, GCP charged 10.02"


def test_a_leg_that_never_comes_is_missing_after_the_deadline_and_not_before(store):
    take_in(store, leg("order"), leg("payment"))

    assert expire_flows(NOON + timedelta(seconds=89), store=store, reconciler=RECONCILER) == 0
    assert expire_flows(OVERDUE, store=store, reconciler=RECONCILER) == 1
    row = instance(store)
    assert (row.status, kinds(row), row.settled_at) == ("incomplete", ["missing"], NOON + timedelta(seconds=90))
    assert row.issues[0].detail == "inventory: no InventoryReserved from Azure"
    assert expire_flows(OVERDUE, store=store, reconciler=RECONCILER) == 0
    assert statuses(store) == {"incomplete": 1}


def test_late_evidence_reopens_the_verdict(store):
    take_in(store, leg("order"), leg("payment"))
    expire_flows(OVERDUE, store=store, reconciler=RECONCILER)
    take_in(store, leg("inventory", after=400))
    row = instance(store)

    assert (row.status, kinds(row)) == ("matched_late", ["late"])
    assert statuses(store) == {"matched_late": 1}
    take_in(store, leg("inventory", quantity=1, id_="2", after=500))
    assert verdicts(store) == [(1, "open", 0), (2, "incomplete", 90), (3, "matched_late", 400), (4, "mismatched", 500)]


@pytest.mark.parametrize(("window", "due"), [(200, 260), (10, 70)])
def test_a_story_that_waits_is_judged_by_the_rules_in_force(store, window, due):
    """Whatever its deadline was by the rules under which it began."""
    take_in(store, leg("order"), leg("payment"))
    changed = Reconciler([replace(ORDER, window_seconds=window)])

    def judged_at(seconds: float) -> int:
        return expire_flows(NOON + timedelta(seconds=seconds), store=store, reconciler=changed)

    assert (judged_at(due - 1), judged_at(due)) == (0, 1)
    row = to_instance(changed.evaluators["order"], store.flow(("order", "ORD-1")))
    assert (row.status, row.settled_at, row.legs[2].state) == ("incomplete", NOON + timedelta(seconds=due), "missing")


def test_a_verdict_is_told_anew_only_where_it_is_another(store):
    take_in(store, leg("order", after=1), leg("payment", after=2))
    assert verdicts(store) == [(1, "open", 1)]
    take_in(store, leg("inventory", after=3), leg("order", id_="2", after=4), leg("order", id_="3", after=5))
    expire_flows(OVERDUE, store=store, reconciler=RECONCILER)
    assert verdicts(store) == [(1, "open", 1), (2, "matched", 3), (3, "matched", 4)]


def test_a_leg_told_twice_is_a_duplicate_whether_it_has_the_same_id_or_not(store):
    take_in(store, leg("order"), leg("order"), leg("payment"), leg("inventory"))
    take_in(store, leg("payment", id_="2"))
    row = instance(store)

    assert (row.status, kinds(row)) == ("matched", ["duplicate", "duplicate"])
    assert [one.deliveries for one in row.legs] == [2, 2, 1]


@pytest.mark.parametrize("id_", ["1", "2"])
def test_a_leg_that_contradicts_itself_is_told_with_both_words(store, id_):
    take_in(store, leg("order"), leg("payment"), leg("inventory"))
    take_in(store, leg("payment", id_=id_, customer_id="CUST-2", after=1))
    row = instance(store)

    assert (row.status, kinds(row)) == ("matched", ["contradictory"])
    assert (row.issues[0].field, row.issues[0].values) == ("customer_id", {"1": "CUST-1", "2": "CUST-2"})


def test_a_contradiction_in_what_a_rule_compares_is_a_mismatch(store):
    take_in(store, leg("order"), leg("payment"), leg("inventory"))
    take_in(store, leg("inventory", quantity=1, after=1))

    assert (instance(store).status, kinds(instance(store))) == ("mismatched", ["mismatch", "contradictory"])


def test_nothing_is_special_about_orders(store):
    """Two legs, one of them from any cloud, a key deeper in the payload, and an optional leg."""
    parcel = {"parcel": {"number": 7, "grams": 500}}
    take_in(store, sent("eventgrid", "ParcelHandedOver", parcel, id_="1", received_at=NOON))
    take_in(store, sent("eventbridge", "ParcelScanned", parcel, id_="2", received_at=NOON + timedelta(seconds=11)))
    row = instance(store, "7", SHIPMENT)

    assert (row.status, kinds(row)) == ("matched_late", ["late"])
    assert [(one.name, one.source, one.state) for one in row.legs] == [
        ("handed_over", "azure", "present"),
        ("scanned", "aws", "late"),
        ("insured", "gcp", "pending"),
    ]
    light = {"parcel": {"number": 8, "grams": 480}}
    heavy = {"parcel": {"number": 8, "grams": 500}}
    take_in(store, sent("eventgrid", "ParcelHandedOver", heavy, id_="3", received_at=NOON))
    take_in(store, sent("pubsub", "ParcelScanned", light, id_="4", received_at=NOON))
    assert instance(store, "8", SHIPMENT).status == "mismatched"


def test_frames_tell_of_every_change(store):
    outbox = MemoryOutbox(store) if isinstance(store, MemoryStore) else PostgresOutbox(store._pool)
    take_in(store, leg("order"))
    take_in(store, leg("payment"), leg("inventory", quantity=5))
    take_in(store, leg("order", "ORD-2"))
    expire_flows(OVERDUE, store=store, reconciler=RECONCILER)
    outbox.number()
    frames = outbox.frames(after=0, limit=10)

    assert [[(one.key, one.previous, one.status, one.issues) for one in frame.flows] for frame in frames] == [
        [("ORD-1", None, "open", [])],
        [("ORD-1", "open", "mismatched", ["mismatch"])],
        [("ORD-2", None, "open", [])],
        [("ORD-2", "open", "incomplete", ["missing"])],
    ]
    assert [frame.flow_statuses for frame in frames] == [
        {"order": {"open": 1}},
        {"order": {"mismatched": 1, "open": -1}},
        {"order": {"open": 1}},
        {"order": {"incomplete": 1, "open": -1}},
    ]


def test_the_sums_of_a_position_are_those_that_its_frames_tell(store):
    """Whether a frame waits for its position or not; so that whoever adds later frames to them is never wrong."""
    outbox = MemoryOutbox(store) if isinstance(store, MemoryStore) else PostgresOutbox(store._pool)
    period = {"since": NOON - ALL, "until": NOON + ALL, "bucket": 2 * ALL}

    def check(flow: str | None) -> None:
        sums = store.flow_sums(flow, **period)
        assert sums.counts == store.flow_counts(flow, **period)
        counted = Counter({one.value: one.instances for one in sums.counts if one.what == "status"})
        counted.subtract(sums.unnumbered)
        told: Counter[str] = Counter()
        for frame in outbox.frames(after=0, limit=sums.position):
            told.update(frame.flow_statuses.get("order", {}))
        assert counted == told

    for flow in ("order", None):
        check(flow)
    for deliveries in ([leg("order")], [leg("payment"), leg("inventory")], [leg("order", "ORD-2")], [leg("order")]):
        take_in(store, *deliveries)
        check("order")
        outbox.number()
        check(None)
    assert store.flow_sums(None, **period).position == 4
    take_in(store, leg("payment", "ORD-2"), leg("order", "ORD-3"))
    expire_flows(OVERDUE, store=store, reconciler=RECONCILER)
    check("order")
    assert store.flow_sums("shipment", **period).unnumbered == {}


def test_pages_and_filters(store):
    for number in range(5):
        take_in(store, leg("order", f"ORD-{number}", after=number))
    take_in(store, leg("payment", "ORD-3", amount=1, after=9))

    first = store.flows(FlowFilter(flow=("order",)), after=None, limit=3)
    rest = store.flows(FlowFilter(flow=("order",)), after=first.next_cursor, limit=3)
    assert [kept.key for kept in first.items + rest.items] == ["ORD-4", "ORD-3", "ORD-2", "ORD-1", "ORD-0"]
    assert rest.next_cursor is None

    def found(**where) -> list[str]:
        return [kept.key for kept in store.flows(FlowFilter(**where), after=None, limit=9).items]

    assert found(status=("mismatched", "incomplete")) == ["ORD-3"]
    assert found(issue=("mismatch",)) == ["ORD-3"]
    assert found(issue=("late",)) == []
    assert found(key="ORD-1") == ["ORD-1"]
    assert found(since=NOON + timedelta(seconds=2), until=NOON + timedelta(seconds=4)) == ["ORD-3", "ORD-2"]
    assert found(flow=("shipment",)) == []
    assert found(flow=("shipment", "order"), key="ORD-1") == ["ORD-1"]
    assert found(key="ORD_") == found(key="ORD%") == []
    assert store.oldest_open(["order"]) == store.oldest_open(["shipment", "order"]) == NOON
    assert store.oldest_open(["shipment"]) is None


def test_amounts_at_risk_follow_the_verdict(store):
    """In each currency, which are never added together."""
    take_in(store, leg("order"), leg("payment", amount=1), leg("order", "ORD-2"))
    take_in(store, leg("order", "ORD-3", currency=None), leg("order", "ORD-4", currency="USD", amount=7))
    expire_flows(OVERDUE, store=store, reconciler=RECONCILER)
    assert risks(store) == [("EUR", Decimal("20.00")), ("USD", Decimal(7)), (None, Decimal("10.00"))]

    take_in(store, leg("payment", "ORD-2", after=400), leg("inventory", "ORD-2", after=400))
    assert risks(store) == [("EUR", Decimal("10.00")), ("USD", Decimal(7)), (None, Decimal("10.00"))]
    assert [instance(store, key).currency for key in ("ORD-2", "ORD-3", "ORD-4")] == ["EUR", None, "USD"]


def shop(store, begin: int, end: int, *, clouds: tuple[str, ...] = ("order", "payment", "inventory")) -> None:
    """Orders every five seconds from one second to another, told of by these legs only."""
    for second in range(begin, end, 60):
        moments = range(second, min(second + 60, end), 5)
        take_in(store, *(leg(name, f"ORD-{at}", after=at) for at in moments for name in clouds))


def sweeping(store, begin: int, end: int) -> None:
    for second in range(begin, end, 10):
        expire_flows(NOON + timedelta(seconds=second), store=store, reconciler=RECONCILER)


def test_what_a_silent_cloud_does_not_tell_is_not_missing(store):
    """Its orders stay open and pending, while what another cloud keeps back is missing as ever."""
    shop(store, 0, 300)
    shop(store, 300, 600, clouds=("order", "payment"))
    take_in(store, leg("order", "ORD-NO-PAYMENT", after=400))
    sweeping(store, 300, 600)

    assert silent(store.minutes(NOON), NOON + timedelta(seconds=390)) == ["azure"]
    assert statuses(store) == {"matched": 60, "open": 60, "incomplete": 1}
    assert [(one.state, one.source) for one in instance(store, "ORD-300").legs][2] == ("pending", "azure")
    assert {one.name: one.state for one in instance(store, "ORD-NO-PAYMENT").legs}["payment"] == "missing"

    late = [leg("inventory", f"ORD-{at}", after=610) for at in range(300, 600, 10)]
    take_in(store, *late)
    shop(store, 600, 660)
    sweeping(store, 610, 670)
    assert statuses(store) == {"matched": 74, "matched_late": 28, "open": 30, "incomplete": 1}

    shop(store, 660, 780)
    sweeping(store, 670, 790)
    assert statuses(store) == {"matched": 98, "matched_late": 28, "incomplete": 31}
    assert instance(store, "ORD-305").issues[0].detail == "inventory: no InventoryReserved from Azure"


def test_a_silence_that_never_ends_is_judged_in_the_end(store):
    shop(store, 0, 300)
    shop(store, 300, 4000, clouds=("order", "payment"))
    sweeping(store, 390, 400)
    assert instance(store, "ORD-300").status == "open"
    last = NOON + timedelta(seconds=390) + MAX_DEFERRAL
    assert instance(store, "ORD-300").deadline == last

    expire_flows(last - timedelta(seconds=1), store=store, reconciler=RECONCILER)
    assert instance(store, "ORD-300").status == "open"
    expire_flows(last, store=store, reconciler=RECONCILER)
    assert (instance(store, "ORD-300").status, instance(store, "ORD-300").settled_at) == ("incomplete", last)
    assert instance(store, "ORD-305").status == "open"


def test_no_cloud_is_silent_because_the_shop_has_closed(store):
    """Stragglers come from one cloud as from the other."""
    shop(store, 0, 300)
    take_in(store, *(leg("order", f"ORD-{at}", id_="late", after=at) for at in range(310, 390, 20)))
    sweeping(store, 300, 600)

    assert statuses(store) == {"matched": 60, "incomplete": 4}


def test_what_is_too_long_for_a_currency_is_none(store):
    (outcome,) = take_in(store, leg("order", currency="x" * 10_000))
    expire_flows(OVERDUE, store=store, reconciler=RECONCILER)

    assert (outcome.status, instance(store).currency) == ("stored", None)
    assert risks(store) == [(None, Decimal("10.00"))]


def test_any_text_may_be_a_key_or_a_field(store):
    key = "a \"b\", {c}\\ 'd'\n\t;é\u2028"
    take_in(store, leg("order", key, note=key), leg("order"))
    take_in(store, leg("payment", key, note=key), leg("inventory", key, after=1))

    assert instance(store, key).status == "matched"
    assert [one.fields.get("note") for one in instance(store, key).legs] == [key, key, None]
    assert (instance(store).status, statuses(store)) == ("open", {"matched": 1, "open": 1})


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("last", [0, 7])
@pytest.mark.parametrize("minutes", [7, 20])
def test_sums_are_exact_wherever_a_period_begins_and_ends(store, first, last, minutes):
    """Read by the minute or by slots of ten, the buckets begin with the slot in which the period begins."""
    opened = [NOON + timedelta(minutes=minute) for minute in range(60)]
    take_in(store, *(leg("order", f"ORD-{minute}", after=60.0 * minute) for minute in range(60)))
    take_in(store, leg("payment", "ORD-25", after=60.0 * 25), leg("inventory", "ORD-25", after=60.0 * 25))
    since, until = NOON + timedelta(minutes=first), NOON + timedelta(minutes=40 + last)
    bucket = timedelta(minutes=minutes)
    counts = store.flow_counts("order", since=since, until=until, bucket=bucket)

    expected = Counter(NOON + (at - NOON) // bucket * bucket for at in opened if since <= at < until)
    found: Counter[datetime] = Counter()
    for one in counts:
        if one.what == "status":
            found[one.minute] += one.instances
    assert found == expected
    assert {one.value: one.instances for one in counts if one.what == "match"} == {"0.1": 1}


def test_a_field_that_a_rule_reads_is_kept_whole_wherever_it_stands(store):
    """Beyond the first fields, and longer than what is kept to show."""
    many = {f"field_{number}": number for number in range(30)}
    long = "x" * 200

    def told(name: str, currency: str):
        given = leg(name, **many)  # type: ignore[arg-type]  # no name of them is that of another parameter
        body = msgspec.json.decode(given.body)
        data = body.get("detail", body)
        del data["currency"]
        data["currency"] = currency
        return msgspec.structs.replace(given, body=msgspec.json.encode(body))

    take_in(store, told("order", f"{long}A"), told("payment", f"{long}B"))

    assert kinds(instance(store)) == ["mismatch"]
    assert instance(store).issues[0].values == {"order": f"{long}A", "payment": f"{long}B"}


ABSURD = {
    "no power of ten": Raw(b"1e2000000"),
    "as text": "1e2000000",
    "an exponent that is a number itself": Raw(b"1e9999999999999999999"),
    "a hundred thousand zeros": Raw(b"1e100000"),
    "digits without end": Raw(b"1" * 4301),
    "digits to the limit": Raw(b"1" * 4300),
    "a half surrogate": Raw(rb'"\ud800 alone"'),
}
"""Valid JSON numbers, but for the last, which none of our decoders may trip over."""


@pytest.mark.parametrize("amount", ABSURD.values(), ids=ABSURD)
@pytest.mark.parametrize("field", ["amount", "note"])
def test_a_number_that_nobody_can_mean_holds_up_nothing(store, amount, field):
    """On the second leg, so that it is compared; and twice, so that its content is."""
    (good,) = take_in(store, leg("order"))
    absurd, again, other = take_in(
        store,
        leg("payment", **{field: amount}),
        leg("payment", **{field: amount}),
        leg("order", "ORD-2"),
    )

    assert {good.status, other.status} == {"stored"}
    assert (absurd.status, again.status) in {("stored", "duplicate"), ("rejected", "rejected")}
    assert store.flow(("order", "ORD-2"))
    expire_flows(OVERDUE, store=store, reconciler=RECONCILER)
    counts = store.flow_counts(None, since=NOON - ALL, until=NOON + ALL, bucket=2 * ALL)
    assert sum(one.amount for one in counts) == Decimal("20.00")


def test_an_absurd_amount_is_compared_as_text_and_adds_to_no_sum(store):
    take_in(store, leg("order", amount=Raw(b"1e100000")), leg("payment", amount=Raw(b"1e100000")), leg("inventory"))
    take_in(store, *(leg(name, "ORD-2", amount=Raw(b"1e100000")) for name in ("order", "inventory")))
    take_in(store, leg("payment", "ORD-2", amount=5))

    assert (instance(store).status, instance(store).amount) == ("matched", None)
    assert (instance(store, "ORD-2").status, instance(store, "ORD-2").amount) == ("mismatched", Decimal(5))


def test_content_that_can_t_be_taken_apart_is_compared_as_it_is_spelled(store):
    digits = Raw(b"1" * 4301)
    outcomes = take_in(store, leg("order", note=digits), leg("order", note=digits), leg("order", note=Raw(b"2" * 4301)))

    assert [outcome.status for outcome in outcomes] == ["stored", "duplicate", "contradictory"]
    assert outcomes[2].field == "data"


deliveries = st.lists(
    st.builds(
        leg,
        st.sampled_from(["order", "payment", "inventory"]),
        st.sampled_from(["ORD-1", "ORD-2"]),
        id_=st.sampled_from("12"),
        after=st.sampled_from([0.0, 1.0, 31.0, 120.0]),
        amount=st.sampled_from([Decimal("10.00"), Decimal(10), Decimal("99.00"), *ABSURD.values()]),
        customer_id_=st.sampled_from(["CUST-1", "CUST-2"]),
    ),
    max_size=8,
)
many = st.lists(
    st.builds(
        leg,
        st.just("payment"),
        id_=st.sampled_from("abcdefghijkl"),
        after=st.sampled_from([0.0, 1.0, 2.0, 31.0]),
        customer_id=st.sampled_from(["CUST-1", "CUST-2", *(f"CUST-{number}" for number in range(3, 13))]),
    ),
    max_size=40,
)
cuts = st.sets(st.integers(0, 8))
randoms = st.randoms(use_true_random=False)


def in_batches(
    store, chosen, cut_at, prefix: str = "", *, swept: frozenset[int] = frozenset()
) -> Iterator[FlowInstance]:
    """Take everything in, wait for every deadline, and tell of every story; the prefix keeps examples apart.

    After some batches a sweep finds that every deadline has passed.
    """
    edges = sorted({0, len(chosen), *(cut for cut in cut_at if cut < len(chosen))})
    for start, end in pairwise(edges):
        take_in(store, *chosen[start:end])
        if end in swept:
            expire_flows(NOON + timedelta(days=1), store=store, reconciler=RECONCILER)
    expire_flows(NOON + timedelta(days=1), store=store, reconciler=RECONCILER)
    for kept in store.flows(FlowFilter(key=prefix or None), after=None, limit=500).items:
        row = to_instance(FlowEvaluator(ORDER), kept)
        *_, last = [step.status for step in timeline(FlowEvaluator(ORDER), kept) if step.what == "verdict"]
        assert last == row.status
        yield row


@settings(SAME_EVERY_TIME, max_examples=examples(150, long=750))
@given(chosen=deliveries, cut_at=cuts, other_cuts=cuts, random=randoms)
def test_no_order_of_arrival_changes_a_story(chosen, cut_at, other_cuts, random):
    """Duplicates and contradictions included, cut into any batches, with sweeps between some of them."""
    shuffled = random.sample(chosen, len(chosen))
    one, other = MemoryStore(), MemoryStore()
    swept = frozenset(cut for cut in other_cuts if random.random() < 0.5)

    assert list(in_batches(one, chosen, cut_at)) == list(in_batches(other, shuffled, other_cuts, swept=swept))
    assert statuses(one) == statuses(other)


@settings(SAME_EVERY_TIME, max_examples=examples(150, long=750))
@given(chosen=many, cut_at=st.sets(st.integers(0, 40)), other_cuts=st.sets(st.integers(0, 40)), random=randoms)
def test_nor_does_it_where_there_is_more_than_is_kept(chosen, cut_at, other_cuts, random):
    shuffled = random.sample(chosen, len(chosen))

    assert list(in_batches(MemoryStore(), chosen, cut_at)) == list(in_batches(MemoryStore(), shuffled, other_cuts))


def test_no_number_of_repetitions_hides_a_contradiction(store):
    take_in(store, *(leg("payment", id_=str(number), after=number) for number in range(20)))
    take_in(store, leg("payment", id_="other", customer_id="CUST-2", after=25))
    row = instance(store)

    assert kinds(row) == ["duplicate", "contradictory"]
    assert (row.issues[1].field, row.legs[1].deliveries) == ("customer_id", 21)


prefixes = count()


@settings(SAME_EVERY_TIME, max_examples=examples(30, long=150))
@given(chosen=deliveries, cut_at=cuts, random=randoms)
def test_nor_does_it_in_postgres(chosen, cut_at, random, postgres_store):
    """Postgres and memory tell the same stories; each example has orders of its own, in a database that fills."""
    prefix = f"E{next(prefixes)}-"
    apart = [_renamed(delivery, prefix) for delivery in chosen]
    shuffled = random.sample(apart, len(apart))

    expected = list(in_batches(MemoryStore(), apart, set()))
    assert list(in_batches(postgres_store, shuffled, cut_at, prefix)) == expected


def _renamed(delivery, prefix: str):
    headers = {name: value.replace("ORD-", f"{prefix}ORD-") for name, value in delivery.headers.items()}
    return replace(delivery, body=delivery.body.replace(b"ORD-", f"{prefix}ORD-".encode()), headers=headers)


def test_every_permutation_of_three_legs_gives_the_same_row(memory_store):
    legs = [leg("order"), leg("payment", after=3), leg("inventory", after=40, quantity=1)]
    rows = []
    for order in permutations(legs):
        store = MemoryStore()
        for one in order:
            take_in(store, one)
        rows.append(instance(store))

    assert rows == rows[:1] * 6
    assert (rows[0].status, kinds(rows[0])) == ("mismatched", ["mismatch", "late"])


@pytest.mark.parametrize("size", [20, MIN_ROWS_TO_HALVE])
def test_four_writers_of_the_same_stories_neither_deadlock_nor_lose(postgres_store, size):
    """Each writes all legs of the same orders, in batches that overlap, in an order of its own."""
    orders = [f"ORD-{number}" for number in range(3 * size)]

    def write(number: int) -> None:
        first = number * len(orders) // 4
        mine = orders[first:] + orders[:first]
        for name in ("order", "payment", "inventory"):
            for start in range(0, len(orders), size):
                take_in(postgres_store, *(leg(name, key, id_=str(number)) for key in mine[start : start + size]))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))

    rows = [instance(postgres_store, key) for key in orders]
    assert {row.status for row in rows} == {"matched"}
    assert {one.deliveries for row in rows for one in row.legs} == {4}
    assert statuses(postgres_store) == {"matched": len(orders)}


def test_only_the_stories_that_are_asked_for_are_found(store):
    """Not those of another flow that have the key of one of them."""
    take_in(store, leg("order", "7"), leg("order", "8"))
    take_in(store, sent("eventgrid", "ParcelHandedOver", {"parcel": {"number": 7}}, id_="1", received_at=NOON))

    with store.transaction() as work:
        found = work.flows.find([("order", "8"), ("shipment", "7"), ("shipment", "9")]).result()

    assert found.keys() == {("order", "8"), ("shipment", "7")}
    assert {key: one.identity for key, one in found.items()} == {key: key for key in found}


def test_what_another_writer_tells_while_a_batch_is_judged_is_not_lost(postgres_store):
    """Of a story that was there, and of one that was not; in the moment after this batch has looked for both."""
    take_in(postgres_store, leg("order"))

    class Overtaken:
        @contextmanager
        def transaction(self):
            with postgres_store.transaction() as work:
                insert = work.events.insert

                def overtaken(events):
                    if events:  # the last part of them: by now both have been looked for
                        take_in(postgres_store, leg("payment", after=1), leg("payment", "ORD-2", after=1))
                    return insert(events)

                work.events.insert = overtaken
                yield work

    take_in(Overtaken(), leg("inventory", after=2), leg("inventory", "ORD-2", after=2), leg("order", "ORD-3"))

    assert (instance(postgres_store).status, instance(postgres_store).time_to_match_seconds) == ("matched", 2.0)
    assert [one.state for one in instance(postgres_store, "ORD-2").legs] == ["pending", "present", "present"]
    assert statuses(postgres_store) == {"matched": 1, "open": 2}


def test_sweeps_beside_ingest_neither_deadlock_nor_lose(postgres_store):
    """While stories become overdue, their last legs arrive, and two sweep."""
    orders = [f"ORD-{number}" for number in range(120)]
    take_in(postgres_store, *(leg(name, key) for key in orders for name in ("order", "payment")))

    def write(number: int) -> None:
        mine = orders[number * 60 :] + orders[: number * 60]
        for start in range(0, 120, 20):
            late = [leg("inventory", key, id_=str(number), after=400) for key in mine[start : start + 20]]
            take_in(postgres_store, *late)

    def sweep(_: int) -> None:
        for _ in range(12):
            expire_flows(OVERDUE, store=postgres_store, reconciler=RECONCILER)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda job: job[0](job[1]), [(write, 0), (sweep, 0), (write, 1), (sweep, 1)]))

    rows = [instance(postgres_store, key) for key in orders]
    assert {row.status for row in rows} == {"matched_late"}
    assert {row.legs[2].deliveries for row in rows} == {2}
    assert statuses(postgres_store) == {"matched_late": 120}


def test_two_sweeps_at_once_judge_each_story_once(postgres_store):
    take_in(postgres_store, *(leg("order", f"ORD-{number}") for number in range(300)))
    with ThreadPoolExecutor(2) as threads:
        transitions = list(
            threads.map(lambda _: expire_flows(OVERDUE, store=postgres_store, reconciler=RECONCILER), range(2))
        )

    assert sum(transitions) == 300
    assert statuses(postgres_store) == {"incomplete": 300}
