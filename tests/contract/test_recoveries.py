"""The contract of recoveries: why a leg is missing, and that bringing it back stores it once."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace

from helios.adapters.postgres.leases import PostgresLeases
from helios.adapters.postgres.resolutions import PostgresResolutions
from helios.errors import Rejected, TargetUnavailable
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import Delivery
from helios.model.recoveries import PlaceSearch, RecoveryRequest
from helios.model.resolutions import InstanceName, ResolutionRequest
from helios.model.sources import Source
from helios.ports.recoveries import Taken, Wanted
from helios.reconciliation.declaration import RecoveryPolicy
from helios.services.recoveries import GIVE_UP, JUDGED_WITHIN, LEASE
from helios.services.resolutions import resolve
from tests.fakes.places import MemoryPlace
from tests.support.deliveries import NOON
from tests.support.instances import ORDER, leg, parcels, sent
from tests.support.recovering import AFTER, Recovering


@pytest.fixture
def recovering(pool, postgres_store):
    """Makes the recoveries with these places."""

    def make(*places: MemoryPlace, source: Source = "gcp", **options) -> Recovering:
        return Recovering(pool, {source: places}, **options)

    return make


def push(payload: dict, *, attributes: dict | None = None) -> Delivery:
    """A push of Pub/Sub without an id, which Helios refuses."""
    data = base64.b64encode(json.dumps(payload).encode()).decode()
    message = {"data": data, "attributes": attributes or {}}
    return Delivery(channel="pubsub", body=json.dumps({"message": message}).encode(), received_at=NOON)


def outcomes(recovering: Recovering) -> dict[str, int]:
    """The deliveries of all time by outcome."""
    totals = recovering.reader.totals(AFTER)
    return {"duplicate": totals.duplicate, "rejected": totals.rejected}


# Why


def test_a_leg_of_which_nothing_is_known_says_what_to_configure(recovering):
    without, with_place = recovering(), recovering(MemoryPlace())
    without.receive(leg("order"), leg("inventory"))
    diagnosis = without.diagnosis()
    assert (diagnosis.finding, diagnosis.found_in, diagnosis.places) == ("unknown", None, [])
    assert "search gcp for it, name places in HELIOS_RECOVERY_PLACES" in diagnosis.detail
    assert with_place.diagnosis().places == ["the shelf"]
    assert "Start a recovery" in with_place.diagnosis().detail


@pytest.mark.parametrize("key", ["ORD-1", "ord 1", "Größe/1", 'a"b'])
def test_a_refused_leg_is_found_in_the_dead_letters_also_in_base64(recovering, key):
    shop = recovering()
    shop.receive(leg("order", key), leg("inventory", key), push({"order_id": key}, attributes={"ce-type": "x"}))
    diagnosis = shop.diagnosis(key)
    (stored,) = shop.reader.dead_letters(DeadLetterFilter(), after=None, limit=10).items
    assert (diagnosis.finding, diagnosis.found_in) == ("refused", f"dead letter {stored.id}")
    assert diagnosis.dead_letters == [stored.id]
    assert diagnosis.detail.startswith("Helios received it and refused it: message.messageId is missing.")


@pytest.mark.parametrize(
    "payload", [{"order_id": "ORD-10"}, {"order_id": "XORD-1"}, {"order_id": "ORD-1", "type": "OrderPlaced"}]
)
def test_a_dead_letter_of_another_order_or_leg_is_not_the_reason(recovering, payload):
    shop = recovering()
    shop.receive(leg("order"), leg("inventory"), push({"padding": "x" * 30, **payload}))
    assert shop.diagnosis().finding == "unknown"


def test_a_replayed_dead_letter_is_not_the_reason(recovering, postgres_store):
    shop = recovering()
    shop.receive(leg("order"), leg("inventory"), push({"order_id": "ORD-1"}))
    (stored,) = shop.reader.dead_letters(DeadLetterFilter(), after=None, limit=10).items
    with postgres_store.transaction() as work:
        work.dead_letters.mark_replayed(stored.id, "stored", [], AFTER)
    assert shop.diagnosis().finding == "unknown"


# Bringing it back


def test_only_the_missing_leg_of_the_order_is_brought_back_and_stored_once(recovering):
    others = [leg("payment", "ORD-2"), leg("order", "ORD-1", id_="2")]
    place = MemoryPlace(leg("payment", after=3600), *others)
    shop = recovering(place)
    shop.receive(leg("order"), leg("inventory"))
    shop.request()
    assert shop.run() == 1

    recovery = shop.last()
    assert (recovery.state, recovery.finding, recovery.found_in) == ("recovered", "not_delivered", "the shelf")
    assert [search.found for search in recovery.searches] == [1]
    assert shop.instance().status == "matched_late"
    assert place.deliveries == others
    assert shop.reader.flow(("order", "ORD-2")) is None
    assert outcomes(shop) == {"duplicate": 0, "rejected": 0}
    assert place.created == set()


def test_a_recovery_waits_for_the_verdict_of_another_process(recovering):
    """It is in the log at first."""
    log: list[Delivery] = []
    shop = recovering(MemoryPlace(leg("payment", after=3600)), log=log)
    shop.receive(leg("order"), leg("inventory"))
    shop.request()
    assert (shop.run(), shop.run(seconds=5), len(log)) == (0, 0, 1)

    shop.receive(*log)
    assert shop.run(seconds=5) == 1
    assert (shop.last().state, shop.last().found_in) == ("recovered", "the shelf")


def test_the_next_place_is_not_searched_for_what_awaits_its_verdict(recovering):
    """The first place with the event ends the search, also one that was asked again before, and however late it is."""
    log: list[Delivery] = []
    away = MemoryPlace(leg("payment", after=3600), name="away", faults=[TargetUnavailable("no answer")] * 2)
    second, third = (MemoryPlace(leg("payment", after=3600), name=name) for name in ("second", "third"))
    second.faults.append(TargetUnavailable("no answer"))
    third.faults.append(TargetUnavailable("no answer"))
    shop = recovering(away, second, third, log=log)
    shop.receive(leg("order"), leg("inventory"))
    shop.request()
    late = 2 * JUDGED_WITHIN.total_seconds()
    assert [shop.run(seconds=seconds) for seconds in (0, late, 10, 10)] == [0] * 4
    assert (len(log), len(away.deliveries), len(third.deliveries)) == (1, 1, 1)

    shop.receive(*log)
    assert shop.run(seconds=10) == 1
    assert (shop.last().state, shop.last().found_in) == ("recovered", "second")
    assert outcomes(shop) == {"duplicate": 0, "rejected": 0}


def test_a_recovery_does_not_wait_for_ever_for_the_verdict_of_another_process(recovering):
    shop = recovering(MemoryPlace(leg("payment", after=3600)), log=[])
    shop.receive(leg("order"), leg("inventory"))
    shop.request()
    assert (shop.run(), shop.run(seconds=JUDGED_WITHIN.total_seconds())) == (0, 1)
    assert (shop.last().state, shop.last().finding) == ("not_found", "not_delivered")


def test_an_event_that_is_stored_already_is_removed_and_not_counted_again(recovering):
    """A process may die after ingest, before the cloud removes the event."""
    place = MemoryPlace(leg("payment"))
    shop = recovering(place)
    shop.receive(leg("order"), leg("inventory"))
    shop.request()
    shop.run()
    assert place.take([leg("payment"), leg("payment", "ORD-2")]) == Taken(matches=[True, False], new=0)
    assert outcomes(shop) == {"duplicate": 0, "rejected": 0}


def test_what_a_dead_process_has_created_is_removed_by_the_next_one(recovering, pool):
    place = MemoryPlace(faults=[TargetUnavailable("away")])
    shop = recovering(place)
    shop.receive(leg("order"), leg("inventory"))
    shop.request()
    shop.run()
    (name,) = place.created
    assert name == f"{shop.recoveries.prefix()}{shop.last().id}"
    place.created.add("helios-recovery-of-another-database-1")

    successor = recovering(place)
    successor.run(seconds=20)
    assert shop.last().state == "not_found"
    assert place.created == {"helios-recovery-of-another-database-1"}


def test_a_leg_that_a_complete_place_lacks_never_reached_the_bus(recovering):
    shop = recovering(MemoryPlace(is_complete=True))
    shop.receive(leg("order"), leg("inventory"))
    shop.request()
    shop.run()
    assert (shop.last().state, shop.last().finding) == ("not_found", "never_reached_bus")
    diagnosis = shop.diagnosis()
    assert (diagnosis.finding, diagnosis.found_in, diagnosis.as_of) == ("never_reached_bus", "the shelf", shop.now)


def test_a_leg_that_dead_letters_lack_is_still_unknown(recovering):
    shop = recovering(MemoryPlace())
    shop.receive(leg("order"), leg("inventory"))
    shop.request()
    shop.run()
    assert (shop.last().finding, shop.last().detail) == ("unknown", "the shelf: was searched.")


def test_an_event_that_helios_refuses_ends_the_recovery_as_refused(recovering):
    """It is older than the identity horizon."""
    shop = recovering(MemoryPlace(leg("payment", after=3600)), horizon=timedelta(minutes=30))
    shop.receive(leg("order"), leg("inventory"))
    shop.request()
    shop.run()
    assert (shop.last().state, shop.last().finding) == ("refused", "refused")
    assert shop.diagnosis().finding == "refused"


def test_a_place_that_does_not_answer_is_asked_again_and_given_up_in_the_end(recovering):
    away = TargetUnavailable("no answer")
    place = MemoryPlace(leg("payment"), faults=[away, away])
    shop = recovering(place)
    shop.receive(leg("order"), leg("inventory"))
    shop.request()
    assert [shop.run(seconds=seconds) for seconds in (0, 1, 10, 10)] == [0, 0, 0, 1]
    assert shop.last().state == "recovered"

    place.faults = [away] * 2
    shop.receive(leg("order", "ORD-2"), leg("inventory", "ORD-2"))
    shop.request("ORD-2")
    assert shop.run() == 0
    assert shop.run(seconds=GIVE_UP.total_seconds()) == 1
    assert (shop.last("ORD-2").state, shop.last("ORD-2").searches[0].detail) == ("failed", "does not answer: no answer")


def test_a_place_that_refuses_is_not_asked_again(recovering):
    shop = recovering(MemoryPlace(faults=[Rejected("denies access", field="credentials")]))
    shop.receive(leg("order"), leg("inventory"))
    shop.request()
    assert shop.run() == 1
    assert (shop.last().state, shop.last().finding) == ("not_found", "unknown")
    assert shop.last().detail == "the shelf: can't be searched: credentials denies access"


def test_a_process_without_the_place_leaves_a_recovery_to_another(recovering):
    """Such as the sweep of a function that does not have the setting."""
    shop, sweep = recovering(MemoryPlace(leg("payment"))), recovering()
    shop.receive(leg("order"), leg("inventory"))
    shop.request()
    assert sweep.run() == 0
    assert shop.last().state == "running"
    assert shop.run() == 1
    assert shop.last().state == "recovered"


def test_a_leg_that_arrives_meanwhile_is_not_claimed(recovering):
    shop = recovering(MemoryPlace(faults=[TargetUnavailable("away")]))
    shop.receive(leg("order"), leg("inventory"))
    shop.request()
    shop.run()
    shop.ingest([leg("payment")])
    assert shop.run(seconds=20) == 1
    assert (shop.last().state, shop.last().found_in) == ("recovered", None)


def test_one_leg_is_recovered_once_at_a_time_and_only_while_it_is_missing(recovering):
    shop = recovering(MemoryPlace())
    shop.receive(leg("order"), leg("inventory"))
    request = RecoveryRequest(flow="order", key="ORD-1", leg="payment")
    assert shop.start(request, actor="kim", now=AFTER)
    assert shop.start(request, actor="lee", now=AFTER) is None
    for field, wrong in (("leg", replace(request, leg="order")), ("key", replace(request, key="ORD-9"))):
        with pytest.raises(Rejected) as caught:
            shop.start(wrong, actor="kim", now=AFTER)
        assert caught.value.field == field


def test_every_recovery_is_in_the_audit_log(recovering):
    shop = recovering(MemoryPlace(leg("payment")))
    shop.receive(leg("order"), leg("inventory"))
    number = shop.request().id
    shop.run()
    entries = shop.reader.audit_log(subject=f"recovery {number}", limit=10).items
    assert [(entry.actor, entry.action, entry.detail) for entry in entries] == [
        ("kim", "recovery_ended", "recovered, found in the shelf"),
        ("kim", "recovery_started", "leg payment of one instance of the flow order"),
    ]


def test_one_process_at_a_time_works_on_recoveries(recovering, pool):
    shop = recovering(MemoryPlace(leg("payment")))
    shop.receive(leg("order"), leg("inventory"))
    shop.request()
    with PostgresLeases(pool).take(LEASE):
        assert shop.run() == 0
    assert shop.run() == 1


# A leg with several parts


PARCELS = parcels("aws")


def parcel(number: int, **extra: str) -> Delivery:
    """The event of one of three parcels; ``extra`` is added to its envelope."""
    data = {"order_id": "ORD-1", "parcel": number}
    sent_ = sent("eventbridge", "ParcelShipped", data, id_=f"parcel-{number}", received_at=NOON)
    return replace(sent_, body=json.dumps(json.loads(sent_.body) | extra).encode())


def test_only_the_parts_that_are_missing_are_brought_back_and_counted(recovering):
    place = MemoryPlace(parcel(1), parcel(2), parcel(3))
    shop = recovering(place, flow=PARCELS, source="aws")
    shop.receive(leg("order"), parcel(1))
    shop.request(leg="shipment")
    assert shop.run() == 1
    assert (shop.last().state, shop.last().found_in) == ("recovered", "the shelf")
    assert [search.found for search in shop.last().searches] == [2]
    assert [each.deliveries for each in shop.instance().legs] == [1, 3]
    assert outcomes(shop) == {"duplicate": 0, "rejected": 0}
    assert place.deliveries == []


def test_parts_that_are_stored_already_do_not_hide_that_another_never_reached_the_bus(recovering):
    shop = recovering(MemoryPlace(parcel(1), parcel(2), is_complete=True), flow=PARCELS, source="aws")
    shop.receive(leg("order"), parcel(1), parcel(2))
    shop.request(leg="shipment")
    assert shop.run() == 1
    assert (shop.last().state, shop.last().finding) == ("not_found", "never_reached_bus")


def test_a_part_that_arrives_meanwhile_is_not_claimed(recovering):
    place = MemoryPlace(parcel(1), parcel(2))
    place.searches_left = 2
    shop = recovering(place, flow=PARCELS, source="aws")
    shop.receive(leg("order"), parcel(1), parcel(2))
    shop.request(leg="shipment")
    assert shop.run() == 0
    shop.ingest([parcel(3)])
    assert shop.run(seconds=1) == 1
    assert (shop.last().state, shop.last().finding, shop.last().found_in) == ("recovered", "unknown", None)


def test_parts_that_are_found_in_several_searches_are_summed(recovering):
    place = MemoryPlace(parcel(2))
    place.searches_left = 2
    shop = recovering(place, flow=PARCELS, source="aws")
    shop.receive(leg("order"), parcel(1))
    shop.request(leg="shipment")
    shop.run()
    assert shop.run(seconds=1) == 1
    assert [(search.found, search.detail) for search in shop.last().searches] == [(1, "1 found.")]
    assert (shop.last().state, shop.last().finding) == ("not_found", "not_delivered")


def test_the_next_place_is_searched_for_further_parts_when_those_found_have_their_verdict(recovering):
    """The place that found them may have further ones meanwhile."""
    log: list[Delivery] = []
    first, second = (MemoryPlace(parcel(2), name=name) for name in ("first", "second"))
    first.searches_left = 2
    second.deliveries.append(parcel(3))
    shop = recovering(first, second, flow=PARCELS, source="aws", log=log)
    shop.receive(leg("order"), parcel(1))
    shop.request(leg="shipment")
    assert (shop.run(), shop.run(seconds=1), len(log), len(second.deliveries)) == (0, 0, 1, 2)
    assert [(search.place, search.is_over) for search in shop.last().searches] == [("first", True)]

    shop.receive(*log)
    assert (shop.run(seconds=JUDGED_WITHIN.total_seconds()), len(log)) == (0, 2)
    shop.receive(*log[1:])
    assert shop.run(seconds=1) == 1
    assert [search.found for search in shop.last().searches] == [1, 1]
    assert shop.last().state == "recovered"
    assert outcomes(shop) == {"duplicate": 0, "rejected": 0}


class ReplayingPlace(MemoryPlace):
    """A place whose cloud delivers what it finds, all parts of the leg, as EventBridge replays an archive."""

    def __init__(self) -> None:
        super().__init__()
        self.deliver: Callable[[str], None] = lambda _name: None

    def search(self, wanted: Wanted) -> PlaceSearch:
        self.deliver(wanted.name)
        return replace(super().search(wanted), redelivers=True)


def test_a_second_part_that_a_replay_delivers_was_brought_back(recovering):
    place = ReplayingPlace()
    shop = recovering(place, flow=PARCELS, source="aws")
    place.deliver = lambda name: shop.ingest([parcel(number, **{"replay-name": name}) for number in (1, 2, 3)])
    shop.receive(leg("order"), parcel(1), parcel(2))
    shop.request(leg="shipment")
    assert shop.run() == 1
    assert (shop.last().state, shop.last().finding) == ("recovered", "not_delivered")
    assert shop.last().found_in == "the shelf"
    assert outcomes(shop)["duplicate"] == 2


# The policy


def test_a_policy_brings_legs_back_up_to_its_rate(recovering):
    numbers = range(1, 6)
    flow = replace(ORDER, recovery=RecoveryPolicy(per_hour=3))
    shop = recovering(MemoryPlace(*(leg("payment", f"ORD-{n}") for n in numbers)), flow=flow)
    shop.receive(*(leg(name, f"ORD-{n}") for n in numbers for name in ("order", "inventory")))
    assert [shop.run(), shop.run(seconds=5), shop.run(seconds=3601)] == [3, 0, 2]
    recovery = shop.last()
    assert (recovery.is_automatic, recovery.actor, recovery.state) == (True, "policy of the flow order", "recovered")


def test_a_policy_waits_and_tries_each_instance_once(recovering):
    flow = replace(ORDER, recovery=RecoveryPolicy(per_hour=3, after_seconds=3600))
    shop = recovering(MemoryPlace(), flow=flow)
    shop.receive(leg("order"), leg("inventory"))
    waits = timedelta(seconds=ORDER.window_seconds + ORDER.grace_seconds).total_seconds()
    assert [shop.run(), shop.run(seconds=waits + 1), shop.run(seconds=60)] == [0, 1, 0]


def test_a_policy_reaches_instances_behind_many_that_no_place_can_help(recovering, monkeypatch):
    monkeypatch.setattr("helios.services.recoveries.EXAMINED", 3)
    flow = replace(ORDER, recovery=RecoveryPolicy(per_hour=2))
    place = MemoryPlace(leg("payment", "ORD-1"))
    shop = recovering(place, flow=flow)
    shop.receive(leg("order", "ORD-1"), leg("inventory", "ORD-1"))
    newer = [f"ORD-{n}" for n in range(2, 9)]  # which lack the leg of a cloud without a place
    shop.receive(*(leg(name, key, after=60) for key in newer for name in ("order", "payment")))
    assert [shop.run(seconds=1) for _ in range(3)] == [0, 0, 1]

    place.deliveries.append(leg("payment", "ORD-9"))
    shop.receive(*(leg(name, "ORD-9", after=120) for name in ("order", "inventory")))
    assert shop.run(seconds=1) == 1
    assert {shop.last(key).state for key in ("ORD-1", "ORD-9")} == {"recovered"}


@pytest.mark.parametrize("step", ["accept", "write_off"])
def test_a_policy_leaves_instances_alone_that_a_person_has_resolved(recovering, pool, step):
    shop = recovering(MemoryPlace(leg("payment")), flow=replace(ORDER, recovery=RecoveryPolicy(per_hour=3)))
    shop.receive(leg("order"), leg("inventory"))
    resolutions = PostgresResolutions(pool)
    request = ResolutionRequest(step=step, instances=(InstanceName("order", "ORD-1"),), text="agreed with the bank")
    action = resolve(request, resolutions=resolutions, flows=["order"], actor="kim", now=AFTER)
    assert shop.run() == 0
    resolutions.undo(action.id or 0, actor="kim", now=AFTER)
    assert shop.run() == 1


def test_without_a_policy_nothing_is_brought_back(recovering):
    shop = recovering(MemoryPlace(leg("payment")))
    shop.receive(leg("order"), leg("inventory"))
    assert shop.run() == 0
    assert shop.instance().status == "incomplete"
