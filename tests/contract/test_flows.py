"""Flow instances on every store: the events of one order give one verdict, in whatever order they arrive."""

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
from helios.errors import ConflictError
from helios.model.flows import FlowFilter, FlowInstance
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.fold import MAX_DEFERRAL
from helios.reconciliation.record import differences, resolutions_of, to_instance
from helios.reconciliation.silence import silent
from helios.reconciliation.summary import amounts_at_risk
from helios.reconciliation.timeline import timeline
from helios.services.ingest import ingest
from helios.services.reconciler import MIN_ROWS_TO_HALVE, Reconciler
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
    """Every store that Helios ships. Each passes every test below."""
    return request.getfixturevalue(f"{request.param}_store")


def ingest_all(store, *deliveries):
    return ingest(deliveries, dedupe=NullDedupeCache(), store=store, reconciler=RECONCILER)


def instance(store, key: str = "ORD-1", flow=ORDER) -> FlowInstance:
    return to_instance(FlowEvaluator(flow), store.flow((flow.name, key)))


def kinds(row: FlowInstance) -> list[str]:
    return [issue.kind for issue in row.issues]


def verdicts(store, key: str = "ORD-1") -> list[tuple[int | None, str | None, float]]:
    """Each verdict with its version, its status and its second."""
    steps = timeline(FlowEvaluator(ORDER), store.flow(("order", key)))
    return [(step.version, step.status, (step.at - NOON).total_seconds()) for step in steps if step.what == "verdict"]


def statuses(store) -> dict[str, int]:
    """The summed instances by status, which must equal the rows."""
    counts = store.flow_counts(None, since=NOON - ALL, until=NOON + ALL, bucket=2 * ALL)
    return {count.value: count.instances for count in counts if count.what == "status" and count.instances}


def risks(store) -> list[tuple[str | None, Decimal]]:
    """The amounts at risk by currency."""
    counts = store.flow_counts(("order",), since=NOON - ALL, until=NOON + ALL, bucket=2 * ALL)
    return [(money.currency, money.amount) for money in amounts_at_risk(counts)]


def test_three_legs_that_agree_match(store):
    ingest_all(store, leg("order"))
    assert instance(store).status == "open"
    ingest_all(store, leg("payment", after=1), leg("inventory", after=2.5))
    row = instance(store)

    assert (row.status, row.issues, row.amount) == ("matched", [], Decimal("10.00"))
    assert row.time_to_match_seconds == 2.5
    assert row.settled_at == NOON + timedelta(seconds=2.5)
    assert [(each.name, each.source, each.state) for each in row.legs] == [
        ("order", "aws", "present"),
        ("payment", "gcp", "present"),
        ("inventory", "azure", "present"),
    ]
    assert statuses(store) == {"matched": 1}


def test_amounts_are_compared_by_value_and_not_by_format(store):
    ingest_all(store, leg("order", amount=Decimal("10.0")), leg("payment", amount=10), leg("inventory"))
    ingest_all(
        store, leg("order", "ORD-2"), leg("payment", "ORD-2", amount=Decimal("10.02")), leg("inventory", "ORD-2")
    )

    assert instance(store).status == "matched"
    row = instance(store, "ORD-2")
    assert (row.status, kinds(row)) == ("mismatched", ["mismatch"])
    assert row.issues[0].values == {"order": "10", "payment": "10.02"}
    assert row.issues[0].detail == "amount: AWS ordered 10, GCP charged 10.02"


def test_an_absent_leg_is_missing_after_the_deadline_and_not_before(store):
    ingest_all(store, leg("order"), leg("payment"))

    assert expire_flows(NOON + timedelta(seconds=89), store=store, reconciler=RECONCILER) == 0
    assert expire_flows(OVERDUE, store=store, reconciler=RECONCILER) == 1
    row = instance(store)
    assert (row.status, kinds(row), row.settled_at) == ("incomplete", ["missing"], NOON + timedelta(seconds=90))
    assert row.issues[0].detail == "inventory: no InventoryReserved from Azure"
    assert expire_flows(OVERDUE, store=store, reconciler=RECONCILER) == 0
    assert statuses(store) == {"incomplete": 1}


def test_late_evidence_reopens_the_verdict(store):
    ingest_all(store, leg("order"), leg("payment"))
    expire_flows(OVERDUE, store=store, reconciler=RECONCILER)
    ingest_all(store, leg("inventory", after=400))
    row = instance(store)

    assert (row.status, kinds(row)) == ("matched_late", ["late"])
    assert statuses(store) == {"matched_late": 1}
    ingest_all(store, leg("inventory", quantity=1, id_="2", after=500))
    assert verdicts(store) == [(1, "open", 0), (2, "incomplete", 90), (3, "matched_late", 400), (4, "mismatched", 500)]


@pytest.mark.parametrize(("window", "due"), [(200, 260), (10, 70)])
def test_an_open_flow_instance_is_evaluated_by_the_current_rules(store, window, due):
    """The deadline under the earlier rules has no effect."""
    ingest_all(store, leg("order"), leg("payment"))
    changed = Reconciler([replace(ORDER, window_seconds=window)])

    def expired_at(seconds: float) -> int:
        return expire_flows(NOON + timedelta(seconds=seconds), store=store, reconciler=changed)

    assert (expired_at(due - 1), expired_at(due)) == (0, 1)
    row = to_instance(changed.evaluators["order"], store.flow(("order", "ORD-1")))
    assert (row.status, row.settled_at, row.legs[2].state) == ("incomplete", NOON + timedelta(seconds=due), "missing")


def test_the_timeline_has_a_verdict_only_where_it_changed(store):
    ingest_all(store, leg("order", after=1), leg("payment", after=2))
    assert verdicts(store) == [(1, "open", 1)]
    ingest_all(store, leg("inventory", after=3), leg("order", id_="2", after=4), leg("order", id_="3", after=5))
    expire_flows(OVERDUE, store=store, reconciler=RECONCILER)
    assert verdicts(store) == [(1, "open", 1), (2, "matched", 3), (3, "matched", 4)]


def test_a_repeated_leg_is_a_duplicate_with_the_same_id_or_another(store):
    ingest_all(store, leg("order"), leg("order"), leg("payment"), leg("inventory"))
    ingest_all(store, leg("payment", id_="2"))
    row = instance(store)

    assert (row.status, kinds(row)) == ("matched", ["duplicate", "duplicate"])
    assert [each.deliveries for each in row.legs] == [2, 2, 1]


@pytest.mark.parametrize("id_", ["1", "2"])
def test_a_contradictory_leg_is_reported_with_both_values(store, id_):
    ingest_all(store, leg("order"), leg("payment"), leg("inventory"))
    ingest_all(store, leg("payment", id_=id_, customer_id="CUST-2", after=1))
    row = instance(store)

    assert (row.status, kinds(row)) == ("matched", ["contradictory"])
    assert (row.issues[0].field, row.issues[0].values) == ("customer_id", {"1": "CUST-1", "2": "CUST-2"})


def test_a_contradiction_in_a_compared_field_is_a_mismatch(store):
    ingest_all(store, leg("order"), leg("payment"), leg("inventory"))
    ingest_all(store, leg("inventory", quantity=1, after=1))

    assert (instance(store).status, kinds(instance(store))) == ("mismatched", ["mismatch", "contradictory"])


def test_a_flow_need_not_be_about_orders(store):
    """This flow has two legs, one of them from any cloud, a nested key, and an optional leg."""
    parcel = {"parcel": {"number": 7, "grams": 500}}
    ingest_all(store, sent("eventgrid", "ParcelHandedOver", parcel, id_="1", received_at=NOON))
    ingest_all(store, sent("eventbridge", "ParcelScanned", parcel, id_="2", received_at=NOON + timedelta(seconds=11)))
    row = instance(store, "7", SHIPMENT)

    assert (row.status, kinds(row)) == ("matched_late", ["late"])
    assert [(each.name, each.source, each.state) for each in row.legs] == [
        ("handed_over", "azure", "present"),
        ("scanned", "aws", "late"),
        ("insured", "gcp", "pending"),
    ]
    light = {"parcel": {"number": 8, "grams": 480}}
    heavy = {"parcel": {"number": 8, "grams": 500}}
    ingest_all(store, sent("eventgrid", "ParcelHandedOver", heavy, id_="3", received_at=NOON))
    ingest_all(store, sent("pubsub", "ParcelScanned", light, id_="4", received_at=NOON))
    assert instance(store, "8", SHIPMENT).status == "mismatched"


def test_frames_contain_every_change_of_a_flow_instance(store):
    outbox = MemoryOutbox(store) if isinstance(store, MemoryStore) else PostgresOutbox(store._pool)
    ingest_all(store, leg("order"))
    ingest_all(store, leg("payment"), leg("inventory", quantity=5))
    ingest_all(store, leg("order", "ORD-2"))
    expire_flows(OVERDUE, store=store, reconciler=RECONCILER)
    outbox.number()
    frames = outbox.frames(after=0, limit=10)

    assert [
        [(change.key, change.previous, change.status, change.issues) for change in frame.flows] for frame in frames
    ] == [
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


def test_the_sums_at_a_position_equal_the_sums_of_its_frames(store):
    """This holds with and without unnumbered frames, so a client may add later frames to the sums."""
    outbox = MemoryOutbox(store) if isinstance(store, MemoryStore) else PostgresOutbox(store._pool)
    period = {"since": NOON - ALL, "until": NOON + ALL, "bucket": 2 * ALL}

    def check(flows: tuple[str, ...] | None) -> None:
        sums = store.flow_sums(flows, **period)
        counted = Counter({count.value: count.instances for count in sums.counts if count.what == "status"})
        changes: Counter[str] = Counter()
        for frame in outbox.frames(after=0, limit=sums.position):
            changes.update(frame.flow_statuses.get("order", {}))
        assert +counted == +changes

    for flows in (("order",), None):
        check(flows)
    for deliveries in ([leg("order")], [leg("payment"), leg("inventory")], [leg("order", "ORD-2")], [leg("order")]):
        ingest_all(store, *deliveries)
        check(("order",))
        outbox.number()
        check(None)
        assert store.flow_sums(None, **period).counts == store.flow_counts(None, **period)
    assert store.flow_sums(None, **period).position == 4
    ingest_all(store, leg("payment", "ORD-2"), leg("order", "ORD-3"))
    expire_flows(OVERDUE, store=store, reconciler=RECONCILER)
    check(("order",))
    assert store.flow_sums(("shipment",), **period).counts == []


def test_flow_instances_are_paged_and_filtered(store):
    for number in range(5):
        ingest_all(store, leg("order", f"ORD-{number}", after=number))
    ingest_all(store, leg("payment", "ORD-3", amount=1, after=9))

    first = store.flows(FlowFilter(flow=("order",)), after=None, limit=3)
    rest = store.flows(FlowFilter(flow=("order",)), after=first.next_cursor, limit=3)
    assert [record.key for record in first.items + rest.items] == ["ORD-4", "ORD-3", "ORD-2", "ORD-1", "ORD-0"]
    assert rest.next_cursor is None

    def matching_keys(**where) -> list[str]:
        return [record.key for record in store.flows(FlowFilter(**where), after=None, limit=9).items]

    assert matching_keys(status=("mismatched", "incomplete")) == ["ORD-3"]
    assert matching_keys(issue=("mismatch",)) == ["ORD-3"]
    assert matching_keys(issue=("late",)) == []
    assert matching_keys(key="ORD-1") == ["ORD-1"]
    assert matching_keys(since=NOON + timedelta(seconds=2), until=NOON + timedelta(seconds=4)) == ["ORD-3", "ORD-2"]
    assert matching_keys(flow=("shipment",)) == []
    assert matching_keys(flow=("shipment", "order"), key="ORD-1") == ["ORD-1"]
    assert matching_keys(key="ORD_") == matching_keys(key="ORD%") == []
    assert store.oldest_open(["order"]) == store.oldest_open(["shipment", "order"]) == NOON
    assert store.oldest_open(["shipment"]) is None


def test_a_batch_that_has_read_an_instance_before_it_was_resolved_is_refused(store):
    """So no batch takes an instance from incidents that no longer count it."""
    ingest_all(store, leg("order"))
    expire_flows(OVERDUE, store=store, reconciler=RECONCILER)
    unresolved = store.flow(("order", "ORD-1"))
    ((before, after),) = resolutions_of([unresolved], resolved=True)
    with store.transaction() as work:
        assert work.flows.write([after]).result() == set()
    stored = store.flow(("order", "ORD-1"))
    assert (stored.status, stored.issues, stored.resolved) == (before.status, before.issues, True)

    with pytest.raises(ConflictError), store.transaction() as work:
        work.flows.write_all([replace(unresolved, version=unresolved.version + 1)])
    ingest_all(store, leg("order", id_="2", after=400))
    again = store.flow(("order", "ORD-1"))

    def causes(transition) -> list[int]:
        return [count.instances for count in differences([transition]) if count.what == "cause"]

    assert (again.status, again.resolved) == ("incomplete", False)
    assert [causes(each) for each in [(unresolved, stored), (stored, again), (unresolved, again)]] == [
        [-1, -1],
        [1, 1],
        [],
    ]


def test_amounts_at_risk_follow_the_verdict(store):
    """Amounts of different currencies are never added together."""
    ingest_all(store, leg("order"), leg("payment", amount=1), leg("order", "ORD-2"))
    ingest_all(store, leg("order", "ORD-3", currency=None), leg("order", "ORD-4", currency="USD", amount=7))
    expire_flows(OVERDUE, store=store, reconciler=RECONCILER)
    assert risks(store) == [("EUR", Decimal("20.00")), ("USD", Decimal(7)), (None, Decimal("10.00"))]

    ingest_all(store, leg("payment", "ORD-2", after=400), leg("inventory", "ORD-2", after=400))
    assert risks(store) == [("EUR", Decimal("10.00")), ("USD", Decimal(7)), (None, Decimal("10.00"))]
    assert [instance(store, key).currency for key in ("ORD-2", "ORD-3", "ORD-4")] == ["EUR", None, "USD"]


def ingest_orders(store, begin: int, end: int, *, clouds: tuple[str, ...] = ("order", "payment", "inventory")) -> None:
    """Ingest an order every five seconds between two seconds, with these legs only."""
    for second in range(begin, end, 60):
        moments = range(second, min(second + 60, end), 5)
        ingest_all(store, *(leg(name, f"ORD-{at}", after=at) for at in moments for name in clouds))


def sweep_between(store, begin: int, end: int) -> None:
    for second in range(begin, end, 10):
        expire_flows(NOON + timedelta(seconds=second), store=store, reconciler=RECONCILER)


def test_a_leg_of_a_silent_cloud_is_not_missing(store):
    """Its orders stay open and pending. An absent leg of another cloud is still missing."""
    ingest_orders(store, 0, 300)
    ingest_orders(store, 300, 600, clouds=("order", "payment"))
    ingest_all(store, leg("order", "ORD-NO-PAYMENT", after=400))
    sweep_between(store, 300, 600)

    assert silent(store.minutes(NOON), NOON + timedelta(seconds=390)) == ["azure"]
    assert statuses(store) == {"matched": 60, "open": 60, "incomplete": 1}
    assert [(each.state, each.source) for each in instance(store, "ORD-300").legs][2] == ("pending", "azure")
    assert {each.name: each.state for each in instance(store, "ORD-NO-PAYMENT").legs}["payment"] == "missing"

    late = [leg("inventory", f"ORD-{at}", after=610) for at in range(300, 600, 10)]
    ingest_all(store, *late)
    ingest_orders(store, 600, 660)
    sweep_between(store, 610, 670)
    assert statuses(store) == {"matched": 74, "matched_late": 28, "open": 30, "incomplete": 1}

    ingest_orders(store, 660, 780)
    sweep_between(store, 670, 790)
    assert statuses(store) == {"matched": 98, "matched_late": 28, "incomplete": 31}
    assert instance(store, "ORD-305").issues[0].detail == "inventory: no InventoryReserved from Azure"


def test_a_flow_instance_is_evaluated_after_the_maximum_deferral(store):
    ingest_orders(store, 0, 300)
    ingest_orders(store, 300, 4000, clouds=("order", "payment"))
    sweep_between(store, 390, 400)
    assert instance(store, "ORD-300").status == "open"
    last = NOON + timedelta(seconds=390) + MAX_DEFERRAL
    assert instance(store, "ORD-300").deadline == last

    expire_flows(last - timedelta(seconds=1), store=store, reconciler=RECONCILER)
    assert instance(store, "ORD-300").status == "open"
    expire_flows(last, store=store, reconciler=RECONCILER)
    assert (instance(store, "ORD-300").status, instance(store, "ORD-300").settled_at) == ("incomplete", last)
    assert instance(store, "ORD-305").status == "open"


def test_no_cloud_is_silent_when_all_traffic_stops(store):
    """A few late events come from one cloud."""
    ingest_orders(store, 0, 300)
    ingest_all(store, *(leg("order", f"ORD-{at}", id_="late", after=at) for at in range(310, 390, 20)))
    sweep_between(store, 300, 600)

    assert statuses(store) == {"matched": 60, "incomplete": 4}


def test_a_text_that_is_too_long_for_a_currency_is_ignored(store):
    (outcome,) = ingest_all(store, leg("order", currency="x" * 10_000))
    expire_flows(OVERDUE, store=store, reconciler=RECONCILER)

    assert (outcome.status, instance(store).currency) == ("stored", None)
    assert risks(store) == [(None, Decimal("10.00"))]


def test_any_text_may_be_a_key_or_a_field(store):
    key = "a \"b\", {c}\\ 'd'\n\t;é\u2028"
    ingest_all(store, leg("order", key, note=key), leg("order"))
    ingest_all(store, leg("payment", key, note=key), leg("inventory", key, after=1))

    assert instance(store, key).status == "matched"
    assert [each.fields.get("note") for each in instance(store, key).legs] == [key, key, None]
    assert (instance(store).status, statuses(store)) == ("open", {"matched": 1, "open": 1})


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("last", [0, 7])
@pytest.mark.parametrize("minutes", [7, 20])
def test_sums_are_exact_wherever_a_period_begins_and_ends(store, first, last, minutes):
    """The sums come from minutes or ten-minute slots. Buckets begin with the slot in which the period begins."""
    opened = [NOON + timedelta(minutes=minute) for minute in range(60)]
    ingest_all(store, *(leg("order", f"ORD-{minute}", after=60.0 * minute) for minute in range(60)))
    ingest_all(store, leg("payment", "ORD-25", after=60.0 * 25), leg("inventory", "ORD-25", after=60.0 * 25))
    since, until = NOON + timedelta(minutes=first), NOON + timedelta(minutes=40 + last)
    bucket = timedelta(minutes=minutes)
    counts = store.flow_counts(("order",), since=since, until=until, bucket=bucket)

    expected = Counter(NOON + (at - NOON) // bucket * bucket for at in opened if since <= at < until)
    sums: Counter[datetime] = Counter()
    for flow_count in counts:
        if flow_count.what == "status":
            sums[flow_count.minute] += flow_count.instances
    assert sums == expected
    assert {count.value: count.instances for count in counts if count.what == "match"} == {"0.1": 1}


def test_a_field_that_a_rule_reads_is_stored_whole_at_any_position(store):
    """The field comes after the displayed fields, and is longer than a displayed value."""
    many = {f"field_{number}": number for number in range(30)}
    long = "x" * 200

    def leg_with_currency(name: str, currency: str):
        delivery = leg(name, **many)  # type: ignore[arg-type]  # no field has the name of a parameter
        body = msgspec.json.decode(delivery.body)
        data = body.get("detail", body)
        del data["currency"]
        data["currency"] = currency
        return msgspec.structs.replace(delivery, body=msgspec.json.encode(body))

    ingest_all(store, leg_with_currency("order", f"{long}A"), leg_with_currency("payment", f"{long}B"))

    assert kinds(instance(store)) == ["mismatch"]
    assert instance(store).issues[0].values == {"order": f"{long}A", "payment": f"{long}B"}


EXTREME_VALUES = {
    "no power of ten": Raw(b"1e2000000"),
    "as text": "1e2000000",
    "an exponent that is a number itself": Raw(b"1e9999999999999999999"),
    "a hundred thousand zeros": Raw(b"1e100000"),
    "digits without end": Raw(b"1" * 4301),
    "digits to the limit": Raw(b"1" * 4300),
    "a half surrogate": Raw(rb'"\ud800 alone"'),
}
"""Valid JSON numbers and, last, an invalid text. No decoder of Helios may fail on them."""


@pytest.mark.parametrize("amount", EXTREME_VALUES.values(), ids=EXTREME_VALUES)
@pytest.mark.parametrize("field", ["amount", "note"])
def test_an_extreme_number_does_not_block_other_events(store, amount, field):
    """The second leg has the number, so a rule compares it. It is sent twice, so Helios compares its content."""
    (first,) = ingest_all(store, leg("order"))
    extreme, repeated, other = ingest_all(
        store,
        leg("payment", **{field: amount}),
        leg("payment", **{field: amount}),
        leg("order", "ORD-2"),
    )

    assert {first.status, other.status} == {"stored"}
    assert (extreme.status, repeated.status) in {("stored", "duplicate"), ("rejected", "rejected")}
    assert store.flow(("order", "ORD-2"))
    expire_flows(OVERDUE, store=store, reconciler=RECONCILER)
    counts = store.flow_counts(None, since=NOON - ALL, until=NOON + ALL, bucket=2 * ALL)
    assert sum(count.amount for count in counts) == Decimal("20.00")


def test_an_extreme_amount_is_compared_as_text_and_not_summed(store):
    ingest_all(store, leg("order", amount=Raw(b"1e100000")), leg("payment", amount=Raw(b"1e100000")), leg("inventory"))
    ingest_all(store, *(leg(name, "ORD-2", amount=Raw(b"1e100000")) for name in ("order", "inventory")))
    ingest_all(store, leg("payment", "ORD-2", amount=5))

    assert (instance(store).status, instance(store).amount) == ("matched", None)
    assert (instance(store, "ORD-2").status, instance(store, "ORD-2").amount) == ("mismatched", Decimal(5))


def test_content_that_can_not_be_parsed_is_compared_as_text(store):
    digits = Raw(b"1" * 4301)
    outcomes = ingest_all(
        store, leg("order", note=digits), leg("order", note=digits), leg("order", note=Raw(b"2" * 4301))
    )

    assert [outcome.status for outcome in outcomes] == ["stored", "duplicate", "contradictory"]
    assert outcomes[2].field == "data"


deliveries = st.lists(
    st.builds(
        leg,
        st.sampled_from(["order", "payment", "inventory"]),
        st.sampled_from(["ORD-1", "ORD-2"]),
        id_=st.sampled_from("12"),
        after=st.sampled_from([0.0, 1.0, 31.0, 120.0]),
        amount=st.sampled_from([Decimal("10.00"), Decimal(10), Decimal("99.00"), *EXTREME_VALUES.values()]),
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
    """Ingest all deliveries, let every deadline pass, and yield every flow instance. The prefix separates examples.

    After some batches a sweep finds that every deadline has passed.
    """
    edges = sorted({0, len(chosen), *(cut for cut in cut_at if cut < len(chosen))})
    for start, end in pairwise(edges):
        ingest_all(store, *chosen[start:end])
        if end in swept:
            expire_flows(NOON + timedelta(days=1), store=store, reconciler=RECONCILER)
    expire_flows(NOON + timedelta(days=1), store=store, reconciler=RECONCILER)
    for record in store.flows(FlowFilter(key=prefix or None), after=None, limit=500).items:
        row = to_instance(FlowEvaluator(ORDER), record)
        *_, last = [step.status for step in timeline(FlowEvaluator(ORDER), record) if step.what == "verdict"]
        assert last == row.status
        yield row


@settings(SAME_EVERY_TIME, max_examples=examples(150, long=750))
@given(chosen=deliveries, cut_at=cuts, other_cuts=cuts, random=randoms)
def test_the_order_of_arrival_does_not_change_a_flow_instance(chosen, cut_at, other_cuts, random):
    """This includes duplicates and contradictions, any batches, and sweeps between some of them."""
    shuffled = random.sample(chosen, len(chosen))
    first, second = MemoryStore(), MemoryStore()
    swept = frozenset(cut for cut in other_cuts if random.random() < 0.5)

    assert list(in_batches(first, chosen, cut_at)) == list(in_batches(second, shuffled, other_cuts, swept=swept))
    assert statuses(first) == statuses(second)


@settings(SAME_EVERY_TIME, max_examples=examples(150, long=750))
@given(chosen=many, cut_at=st.sets(st.integers(0, 40)), other_cuts=st.sets(st.integers(0, 40)), random=randoms)
def test_the_order_of_arrival_does_not_change_an_instance_with_overflowing_evidence(chosen, cut_at, other_cuts, random):
    shuffled = random.sample(chosen, len(chosen))

    assert list(in_batches(MemoryStore(), chosen, cut_at)) == list(in_batches(MemoryStore(), shuffled, other_cuts))


def test_no_number_of_repetitions_hides_a_contradiction(store):
    ingest_all(store, *(leg("payment", id_=str(number), after=number) for number in range(20)))
    ingest_all(store, leg("payment", id_="other", customer_id="CUST-2", after=25))
    row = instance(store)

    assert kinds(row) == ["duplicate", "contradictory"]
    assert (row.issues[1].field, row.legs[1].deliveries) == ("customer_id", 21)


prefixes = count()


@settings(SAME_EVERY_TIME, max_examples=examples(30, long=150))
@given(chosen=deliveries, cut_at=cuts, random=randoms)
def test_the_order_of_arrival_does_not_change_a_flow_instance_in_postgres(chosen, cut_at, random, postgres_store):
    """Postgres and memory give the same instances. Each example has its own orders in a shared database."""
    prefix = f"E{next(prefixes)}-"
    renamed = [_renamed(delivery, prefix) for delivery in chosen]
    shuffled = random.sample(renamed, len(renamed))

    expected = list(in_batches(MemoryStore(), renamed, set()))
    assert list(in_batches(postgres_store, shuffled, cut_at, prefix)) == expected


def _renamed(delivery, prefix: str):
    headers = {name: value.replace("ORD-", f"{prefix}ORD-") for name, value in delivery.headers.items()}
    return replace(delivery, body=delivery.body.replace(b"ORD-", f"{prefix}ORD-".encode()), headers=headers)


def test_every_permutation_of_three_legs_gives_the_same_row(memory_store):
    legs = [leg("order"), leg("payment", after=3), leg("inventory", after=40, quantity=1)]
    rows = []
    for order in permutations(legs):
        store = MemoryStore()
        for delivery in order:
            ingest_all(store, delivery)
        rows.append(instance(store))

    assert rows == rows[:1] * 6
    assert (rows[0].status, kinds(rows[0])) == ("mismatched", ["mismatch", "late"])


@pytest.mark.parametrize("size", [20, MIN_ROWS_TO_HALVE])
def test_four_writers_of_the_same_flow_instances_neither_deadlock_nor_lose_evidence(postgres_store, size):
    """Each writer ingests all legs of the same orders in its own order, in overlapping batches."""
    orders = [f"ORD-{number}" for number in range(3 * size)]

    def write(number: int) -> None:
        first = number * len(orders) // 4
        keys = orders[first:] + orders[:first]
        for name in ("order", "payment", "inventory"):
            for start in range(0, len(orders), size):
                ingest_all(postgres_store, *(leg(name, key, id_=str(number)) for key in keys[start : start + size]))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))

    rows = [instance(postgres_store, key) for key in orders]
    assert {row.status for row in rows} == {"matched"}
    assert {each.deliveries for row in rows for each in row.legs} == {4}
    assert statuses(postgres_store) == {"matched": len(orders)}


def test_only_the_requested_flow_instances_are_found(store):
    """Instances of another flow with the same key are not records."""
    ingest_all(store, leg("order", "7"), leg("order", "8"))
    ingest_all(store, sent("eventgrid", "ParcelHandedOver", {"parcel": {"number": 7}}, id_="1", received_at=NOON))

    with store.transaction() as work:
        records = work.flows.find([("order", "8"), ("shipment", "7"), ("shipment", "9")]).result()

    assert records.keys() == {("order", "8"), ("shipment", "7")}
    assert {key: record.identity for key, record in records.items()} == {key: key for key in records}


def test_evidence_of_a_concurrent_writer_is_not_lost(postgres_store):
    """The other writer adds to an existing and to a new instance, after this batch has looked for both."""
    ingest_all(postgres_store, leg("order"))

    class OvertakenStore:
        @contextmanager
        def transaction(self):
            with postgres_store.transaction() as work:
                insert = work.events.insert

                def insert_after_other_writer(events):
                    if events:  # the last statement: the batch has looked for both by now
                        ingest_all(postgres_store, leg("payment", after=1), leg("payment", "ORD-2", after=1))
                    return insert(events)

                work.events.insert = insert_after_other_writer
                yield work

    ingest_all(OvertakenStore(), leg("inventory", after=2), leg("inventory", "ORD-2", after=2), leg("order", "ORD-3"))

    assert (instance(postgres_store).status, instance(postgres_store).time_to_match_seconds) == ("matched", 2.0)
    assert [each.state for each in instance(postgres_store, "ORD-2").legs] == ["pending", "present", "present"]
    assert statuses(postgres_store) == {"matched": 1, "open": 2}


def test_sweeps_beside_ingest_neither_deadlock_nor_lose_evidence(postgres_store):
    """The last legs arrive while two sweeps find the instances overdue."""
    orders = [f"ORD-{number}" for number in range(120)]
    ingest_all(postgres_store, *(leg(name, key) for key in orders for name in ("order", "payment")))

    def write(number: int) -> None:
        keys = orders[number * 60 :] + orders[: number * 60]
        for start in range(0, 120, 20):
            late = [leg("inventory", key, id_=str(number), after=400) for key in keys[start : start + 20]]
            ingest_all(postgres_store, *late)

    def sweep(_: int) -> None:
        for _ in range(12):
            expire_flows(OVERDUE, store=postgres_store, reconciler=RECONCILER)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda job: job[0](job[1]), [(write, 0), (sweep, 0), (write, 1), (sweep, 1)]))

    rows = [instance(postgres_store, key) for key in orders]
    assert {row.status for row in rows} == {"matched_late"}
    assert {row.legs[2].deliveries for row in rows} == {2}
    assert statuses(postgres_store) == {"matched_late": 120}


def test_two_concurrent_sweeps_evaluate_each_flow_instance_once(postgres_store):
    ingest_all(postgres_store, *(leg("order", f"ORD-{number}") for number in range(300)))
    with ThreadPoolExecutor(2) as threads:
        transitions = list(
            threads.map(lambda _: expire_flows(OVERDUE, store=postgres_store, reconciler=RECONCILER), range(2))
        )

    assert sum(transitions) == 300
    assert statuses(postgres_store) == {"incomplete": 300}
