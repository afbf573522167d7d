"""What the stream promises to those who watch, on every outbox that Helios ships."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta

import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.stream import PostgresListener, PostgresNotifier, PostgresOutbox
from helios.errors import Retryable
from helios.model.stream import MAX_FRAME_EVENTS
from helios.services import relay as relaying
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.relay import MAX_MESSAGE_BYTES, messages, relay
from helios.services.sweep import FRAME_RETENTION, MAX_FRAME_RETENTION, sweep
from tests.fakes.store import MemoryOutbox, MemoryStore
from tests.support.deliveries import eventbridge


class Audience:
    """A broadcaster that keeps what it was given; ``away`` makes it fail after so many messages."""

    def __init__(self, *, away_after: int | None = None) -> None:
        self.messages: list[bytes] = []
        self.away_after = away_after

    def broadcast(self, message: bytes) -> None:
        if self.away_after is not None and len(self.messages) >= self.away_after:
            raise Retryable("nobody is there")
        self.messages.append(message)

    @property
    def positions(self) -> list[int]:
        return [frame["position"] for message in self.messages for frame in json.loads(message)["frames"]]


NO_FLOWS = Reconciler([])


@pytest.fixture
def outbox(store, request):
    """The outbox of the store under test."""
    return MemoryOutbox(store) if isinstance(store, MemoryStore) else PostgresOutbox(request.getfixturevalue("pool"))


def take_in(store, *names, **how):
    ingest([eventbridge(name, **how) for name in names], dedupe=NullDedupeCache(), store=store)


def test_every_batch_is_one_frame_in_its_place(store, outbox):
    take_in(store, "1", "2")
    take_in(store, "3")
    outbox.number()
    first, second = outbox.frames(after=0, limit=10)

    assert (first.position, [event.id for event in first.events]) == (1, ["1", "2"])
    assert (second.position, [event.id for event in second.events]) == (2, ["3"])


def test_a_batch_of_duplicates_is_counted_and_shows_no_event(store, outbox):
    take_in(store, "1")
    take_in(store, "1", "1")
    outbox.number()
    frame = outbox.frames(after=1, limit=1)[0]

    assert ([count.duplicate for count in frame.counts], frame.events) == ([2], [])


def test_a_large_batch_is_counted_exactly_and_shown_as_a_sample(store, outbox):
    take_in(store, *map(str, range(300)))
    outbox.number()
    frame = outbox.frames(after=0, limit=1)[0]

    assert (sum(count.stored for count in frame.counts), len(frame.events)) == (300, MAX_FRAME_EVENTS)


def test_relaying_sends_each_frame_once_and_in_order(store, outbox):
    audience = Audience()
    take_in(store, "1")
    take_in(store, "2")

    assert relay("test", outbox=outbox, broadcaster=audience) == 2
    assert relay("test", outbox=outbox, broadcaster=audience) == 0
    take_in(store, "3")
    relay("test", outbox=outbox, broadcaster=audience)
    assert audience.positions == [1, 2, 3]


def test_two_consumers_have_places_of_their_own(store, outbox):
    one, other = Audience(), Audience()
    take_in(store, "1")
    relay("one", outbox=outbox, broadcaster=one)
    take_in(store, "2")
    relay("other", outbox=outbox, broadcaster=other)

    assert (one.positions, other.positions) == ([1], [1, 2])


def test_a_relay_that_dies_before_it_sends_sends_the_same_positions_later(store, outbox):
    """Clients tell repeats by position, so a position must never come to mean another frame."""
    take_in(store, "1")
    with pytest.raises(Retryable):
        relay("test", outbox=outbox, broadcaster=Audience(away_after=0))
    take_in(store, "2")
    audience = Audience()
    relay("test", outbox=outbox, broadcaster=audience)

    frames = [frame for message in audience.messages for frame in json.loads(message)["frames"]]
    assert [(frame["position"], frame["events"][0]["id"]) for frame in frames] == [(1, "1"), (2, "2")]


def test_a_relay_may_take_longer_than_a_transaction_may_be_idle(postgres_store, database_url):
    """Or the same frames would be sent again and again, and none after them ever."""

    class Crowd(Audience):
        def broadcast(self, message: bytes) -> None:
            time.sleep(0.6)
            super().broadcast(message)

    for batch in range(6):
        take_in(postgres_store, *(f"{batch}-{number}" for number in range(100)), type_="T" * 256)
    crowd = Crowd()
    with open_pool(database_url, connections=2, timeout_seconds=2) as pool:
        relay("test", outbox=PostgresOutbox(pool), broadcaster=crowd)

    assert (len(crowd.messages), crowd.positions) == (6, [1, 2, 3, 4, 5, 6])


def take_in_large(store, batches: int) -> None:
    """Batches whose frames fill a message each."""
    for batch in range(batches):
        take_in(store, *(f"{batch}-{number}" for number in range(100)), type_="T" * 256)


def test_a_relay_that_is_ended_again_and_again_comes_to_the_end_of_a_backlog(store, outbox, monkeypatch):
    """What was sent up to the page before stays sent, whatever ends the process."""

    class Killed(Audience):
        def broadcast(self, message: bytes) -> None:
            if len(self.messages) == 3:
                raise KeyboardInterrupt
            super().broadcast(message)

    monkeypatch.setattr(relaying, "BATCH", 2)
    take_in_large(store, 5)
    killed, audience = Killed(), Audience()
    with pytest.raises(KeyboardInterrupt):
        relay("test", outbox=outbox, broadcaster=killed)

    assert relay("test", outbox=outbox, broadcaster=audience) == 3
    assert (killed.positions, audience.positions) == ([1, 2, 3], [3, 4, 5])


def test_what_was_sent_before_a_failure_is_not_sent_again(store, outbox):
    take_in_large(store, 4)
    first, second = Audience(away_after=2), Audience()
    with pytest.raises(Retryable):
        relay("test", outbox=outbox, broadcaster=first)
    relay("test", outbox=outbox, broadcaster=second)

    assert (first.positions, second.positions) == ([1, 2], [3, 4])


def test_a_relay_whose_time_is_over_rings_for_the_rest(store, outbox):
    """It sends one message at least, so that a backlog shrinks with each ring."""
    notified = threading.Event()

    class Notifier:
        def notify(self) -> None:
            notified.set()

    take_in_large(store, 3)
    audience = Audience()

    assert relay("test", outbox=outbox, broadcaster=audience, seconds=0, notifier=Notifier()) == 1
    assert notified.is_set()
    notified.clear()
    assert relay("test", outbox=outbox, broadcaster=audience, seconds=60, notifier=Notifier()) == 2
    assert (audience.positions, notified.is_set()) == ([1, 2, 3], False)


def test_messages_stay_below_the_gateways_frame_size(store, outbox):
    """Even when a hundred events have the longest subjects there are."""
    take_in(store, *map(str, range(100)), type_="T" * 256)
    for number in range(200):
        take_in(store, f"small-{number}")
    outbox.number()
    sent = [message for _, message in messages(outbox.frames(after=0, limit=500))]
    frames = [frame for message in sent for frame in json.loads(message)["frames"]]

    assert max(map(len, sent)) <= MAX_MESSAGE_BYTES
    assert [frame["position"] for frame in frames] == list(range(1, 202))
    assert sum(count["stored"] for frame in frames for count in frame["counts"]) == 300
    assert 0 < len(frames[0]["events"]) < 100


def test_who_follows_the_stream_is_known_with_what_waits_for_it(store, outbox):
    """From the moment a frame is published: whether it has its position already makes no difference."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    take_in(store, "1")
    relay("there", outbox=outbox, broadcaster=Audience())
    take_in(store, "2")
    take_in(store, "3")
    missing, there = outbox.consumers("missing")

    assert (missing.name, missing.behind, missing.seen_at) == ("missing", 3, None)
    assert (there.name, there.behind) == ("there", 2)
    assert before < missing.waiting_since < there.waiting_since
    assert before < there.seen_at
    outbox.number()
    assert outbox.consumers("missing") == [missing, there]


def test_a_consumer_that_has_its_turn_is_seen_also_when_there_is_nothing_to_do(store, outbox):
    relay("there", outbox=outbox, broadcaster=Audience())
    (first,) = outbox.consumers()
    relay("there", outbox=outbox, broadcaster=Audience())
    (second,) = outbox.consumers("there")

    assert (second.behind, second.waiting_since, second.parked) == (0, None, 0)
    assert first.seen_at < second.seen_at


def test_every_stored_event_can_be_had_whole(store, outbox):
    """Also those that a frame does not show."""
    take_in(store, *map(str, range(150)))
    take_in(store, "1")
    outbox.number()
    first, second = outbox.events(after=0, limit=10)

    assert {event.id for event in first.events} == set(map(str, range(150)))
    assert first.events[0] == store.event(first.events[0].key)
    assert (second.position, second.events) == (2, [])


def test_frames_wait_for_a_consumer_that_is_behind_but_not_for_ever(store, outbox):
    take_in(store, "1")
    relay("kafka", outbox=outbox, broadcaster=Audience())
    take_in(store, "2")
    outbox.number()
    now = datetime.now(UTC) + timedelta(seconds=1)

    assert sweep(now + FRAME_RETENTION, store=store, reconciler=NO_FLOWS).frames == 1
    assert [frame.position for frame in outbox.frames(after=0, limit=10)] == [2]
    assert sweep(now + MAX_FRAME_RETENTION, store=store, reconciler=NO_FLOWS).frames == 1


def test_the_window_says_what_can_still_be_had(store, outbox):
    """After a sweep, a client that was away too long learns that it has a gap."""
    take_in(store, "1")
    outbox.number()
    assert (outbox.window().oldest, outbox.window().position) == (1, 1)

    assert (
        sweep(datetime.now(UTC) + FRAME_RETENTION + timedelta(seconds=1), store=store, reconciler=NO_FLOWS).frames == 1
    )
    assert (outbox.window().oldest, outbox.window().position) == (None, 1)
    take_in(store, "2")
    outbox.number()
    assert (outbox.window().oldest, outbox.window().position) == (2, 2)


def test_positions_stay_gapless_with_many_writers_and_relays(store, outbox):
    audiences = [Audience() for _ in range(3)]

    def write(writer: int) -> None:
        for number in range(25):
            take_in(store, f"{writer}-{number}")

    def follow(audience: Audience) -> None:
        while len(audience.positions) + sum(len(other.positions) for other in audiences if other is not audience) < 75:
            relay("shared", outbox=outbox, broadcaster=audience)

    with ThreadPoolExecutor(6) as pool:
        work = [pool.submit(write, writer) for writer in range(3)]
        work += [pool.submit(follow, audience) for audience in audiences]
        for one in work:
            one.result(timeout=60)

    assert sorted(position for audience in audiences for position in audience.positions) == list(range(1, 76))


def test_two_relays_of_one_name_take_turns(store, outbox):
    """The second one finds the place to which the first has moved."""
    take_in(store, "1")
    entered, may_leave = threading.Event(), threading.Event()

    class Slow(Audience):
        def broadcast(self, message: bytes) -> None:
            entered.set()
            assert may_leave.wait(20)
            super().broadcast(message)

    first, second = Slow(), Audience()
    with ThreadPoolExecutor(2) as pool:
        work = [pool.submit(relay, "shared", outbox=outbox, broadcaster=first)]
        assert entered.wait(20)
        work.append(pool.submit(relay, "shared", outbox=outbox, broadcaster=second))
        wait([work[1]], timeout=0.3)
        may_leave.set()
        assert [one.result(timeout=20) for one in work] == [1, 0]

    assert (first.positions, second.positions) == ([1], [])


def test_the_bell_wakes_who_listens(database_url, pool):
    """And a bell that rang before anybody listened is not needed: the first wait returns at once."""
    listener = PostgresListener(database_url)
    listener.wait(60)
    PostgresNotifier(pool).notify()
    started = datetime.now(UTC)
    listener.wait(60)
    listener.close()

    assert datetime.now(UTC) - started < timedelta(seconds=30)
