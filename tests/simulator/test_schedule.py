"""The simulator's schedule: which events it sends, and when."""

import itertools
from collections import Counter

import msgspec
import pytest

from helios.model.sources import BUILT_IN
from scripts.simulator.anomalies import PLAIN, Injection
from tests.simulator.support import START, drain, schedule


def injections(emissions, missing=()) -> list[Injection]:
    """Each injected anomaly once."""
    by_identity = {id(emission.injection): emission.injection for emission in emissions if emission.injection}
    return [*by_identity.values(), *missing]


@pytest.mark.parametrize("error_rate", [0.0, 0.05, 1.0])
def test_the_share_of_the_clouds_is_40_30_30(error_rate):
    """Within 2 percentage points over 1000 events, at any error rate."""
    shares = Counter(emission.source for emission in drain(schedule(most_events=1000, error_rate=error_rate)))

    assert [shares[source] / 1000 for source in BUILT_IN] == pytest.approx([0.4, 0.3, 0.3], abs=0.02)


def test_the_share_of_the_clouds_is_exact_in_the_long_run():
    shares = Counter(emission.source for emission in drain(schedule(most_events=30_000, error_rate=0)))

    assert [shares[source] / 30_000 for source in BUILT_IN] == pytest.approx([0.4, 0.3, 0.3], abs=0.0005)


def test_the_same_seed_gives_the_same_events():
    """They are equal byte for byte, including anomalies and times, when the runs start at the same instant."""
    first, second = (
        [
            (e.source, e.type, e.id, e.data, e.due, e.time, e.poison)
            for e in drain(schedule(seed=7, most_events=2000, error_rate=0.5))
        ]
        for _ in range(2)
    )

    assert first == second


def test_another_seed_gives_other_events():
    first, second = ({e.id for e in drain(schedule(seed=seed, most_events=300))} for seed in (1, 2))

    assert not first & second


def test_every_slot_has_one_event():
    """Event n is due at n / rate: orders and anomalies do not make the schedule drift."""
    emissions = drain(schedule(rate=50, most_events=1000, error_rate=0.5, lateness=3))

    assert [e.due for e in emissions] == pytest.approx([n / 50 for n in range(1000)])


def test_each_order_has_a_consistent_leg_on_every_cloud():
    """Amount, currency and quantity are equal, and the amount is the sum of the items."""
    emissions = drain(schedule(most_events=1000, error_rate=0))
    orders: dict[str, dict] = {}
    for emission in emissions:
        data = msgspec.json.decode(emission.data)
        orders.setdefault(data["order_id"], {})[emission.type] = data
    legs = [
        [by_type["OrderPlaced"], by_type["PaymentProcessed"], by_type["InventoryReserved"]]
        for by_type in orders.values()
        if "OrderPlaced" in by_type
    ]

    assert len(legs) > 290
    for order, payment, inventory in legs:
        total = sum(item["unit_price"] * item["quantity"] for item in order["items"])
        assert order["amount"] == pytest.approx(total)
        assert (payment["amount"], payment["currency"]) == (order["amount"], order["currency"])
        assert inventory["quantity"] == order["quantity"]
        assert len({leg["customer_id"] for leg in (order, payment, inventory)}) == 1


def test_only_repeated_events_share_an_id():
    emissions = drain(schedule(most_events=5000, rate=5000, error_rate=0.5, lateness=0.2, jitter=0.1))
    ids = Counter((e.source, e.id) for e in emissions)

    assert {e.id for e in emissions if e.original} == {id_ for (_, id_), count in ids.items() if count > 1}


def test_the_error_rate_is_the_share_of_orders_with_an_anomaly():
    missing: list[Injection] = []
    emissions = drain(schedule(most_events=20_000, rate=1000, error_rate=0.2, missing=missing))
    kinds = Counter(injection.anomaly for injection in injections(emissions, missing))

    assert kinds.total() / 6000 == pytest.approx(0.2, abs=0.02)
    assert set(kinds) == set(PLAIN)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 50, 999])
def test_a_count_is_met_exactly(count):
    assert len(drain(schedule(most_events=count, error_rate=0.5, lateness=0.1))) == count


@pytest.mark.parametrize("source", BUILT_IN)
def test_a_single_source_gets_all_events(source):
    emissions = drain(schedule(sources=(source,), most_events=100, error_rate=0.5))

    assert Counter(e.source for e in emissions) == {source: 100}


def test_a_number_of_orders_is_sent_completely():
    """Late legs are sent at their time."""
    missing: list[Injection] = []
    emissions = drain(schedule(most_orders=50, error_rate=1, lateness=60, missing=missing))
    late = [e for e in emissions if e.wait_until_due]

    assert len(injections(emissions, missing)) == 50
    assert late
    assert all(e.due >= 60 for e in late)


def test_a_late_leg_comes_after_the_window():
    emissions = drain(schedule(most_events=2000, rate=100, error_rate=0.3, lateness=5))
    first: dict[str, float] = {}
    for emission in emissions:
        first.setdefault(emission.order_id, emission.due)
    late = [e.due - first[e.order_id] for e in emissions if e.wait_until_due]

    assert late
    # The order's first leg may have waited for a few slots.
    assert min(late) > 4.8


def test_a_finite_run_plans_no_leg_beyond_its_end():
    emissions = drain(schedule(most_events=500, rate=100, error_rate=1, lateness=60))

    assert not [e for e in emissions if e.wait_until_due]
    assert emissions[-1].due < 5


def test_a_repeated_event_has_the_same_id_and_time():
    """A duplicate has the same content as well; a contradictory event differs in the customer only."""
    repeats = Counter[str]()
    for repeat in drain(schedule(most_events=3000, error_rate=0.5)):
        if (first := repeat.original) and repeat.injection:
            assert (repeat.id, repeat.time, repeat.type) == (first.id, first.time, first.type)
            original, repeated = (msgspec.json.decode(e.data) for e in (first, repeat))
            differing = [name for name in original if original[name] != repeated[name]]
            assert differing == ([] if repeat.injection.anomaly == "duplicate" else ["customer_id"])
            repeats[repeat.injection.anomaly] += 1

    assert min(repeats["duplicate"], repeats["contradictory"]) > 20


def test_a_mismatch_has_the_amounts_in_the_truth():
    emissions = drain(schedule(most_events=3000, error_rate=0.5))
    wrong = [(e, e.injection.details) for e in emissions if e.injection and e.injection.anomaly == "mismatch"]

    assert wrong
    for emission, details in wrong:
        assert b'"amount":' + str(details["paid"]).encode() + b"," in emission.data
        assert details["paid"] != details["ordered"]
        assert float(str(details["paid"])) > 0


def test_stop_turns_late_legs_into_missing_ones():
    """Events of started orders are sent at once. Late legs are not sent, and the truth says so."""
    missing: list[Injection] = []
    planned = schedule(rate=100, error_rate=1, lateness=1000, missing=missing)
    sent = [planned.take() for _ in range(1000)]
    before = len(missing)
    planned.stop()
    rest = drain(planned)
    dropped = missing[before:]

    assert dropped
    assert all("late" in str(injection.details["reason"]) for injection in dropped)
    assert not [e for e in itertools.chain(sent, rest) if e.wait_until_due]
    assert len(rest) < 4 * 1.5 * 100


def test_the_time_of_an_event_is_the_time_it_is_sent():
    emissions = [e for e in drain(schedule(most_events=500)) if not e.original]

    assert [(e.time - START).total_seconds() for e in emissions] == pytest.approx([e.due for e in emissions], abs=1e-5)


def test_each_cloud_sends_the_first_event_of_a_third_of_the_orders():
    """The orders have no anomalies."""
    firsts: dict[str, str] = {}
    for emission in drain(schedule(most_events=3000, error_rate=0)):
        firsts.setdefault(emission.order_id, emission.source)
    shares = Counter(firsts.values())

    assert [shares[source] / shares.total() for source in BUILT_IN] == pytest.approx([1 / 3] * 3, abs=0.06)


def test_most_missing_legs_are_published_with_the_mark_of_undelivered_events_if_the_run_says_so():
    missing: list[Injection] = []
    emissions = drain(schedule(most_orders=300, error_rate=1.0, undelivered="undelivered", missing=missing))
    undelivered = [emission for emission in emissions if emission.is_undelivered]
    kinds = {each.anomaly for each in injections(undelivered)}

    assert kinds == {"missing"}
    assert len(undelivered) > len([each for each in missing if "reason" not in each.details]) > 0
    assert not {each.order_id for each in missing} & {each.order_id for each in undelivered}
    for emission in undelivered:
        data = msgspec.json.decode(emission.data)
        assert (data["order_id"], data["undelivered"]) == (emission.order_id, True)
    assert not any(b"undelivered" in emission.data for emission in emissions if not emission.is_undelivered)
