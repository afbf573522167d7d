"""The contract of the stream to its clients, on every outbox that Helios ships."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
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
from helios.services.relay import MAX_MESSAGE_BYTES, SAMPLE_SECONDS, SAMPLED, messages, relay
from helios.services.sweep import FRAME_RETENTION, MAX_FRAME_RETENTION, sweep
from tests.fakes.store import MemoryOutbox, MemoryStore
from tests.support.deliveries import eventbridge


class Recorder:
    """A broadcaster that records its messages, and fails after ``fails_after`` of them."""

    def __init__(self, *, fails_after: int | None = None) -> None:
        self.messages: list[bytes] = []
        self.fails_after = fails_after

    def client_count(self) -> int:
        return 1

    def broadcast(self, message: bytes) -> None:
        if self.fails_after is not None and len(self.messages) >= self.fails_after:
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


def ingest_names(store, *names, **how):
    ingest([eventbridge(name, **how) for name in names], dedupe=NullDedupeCache(), store=store)


def test_every_batch_is_one_frame_in_order(store, outbox):
    ingest_names(store, "1", "2")
    ingest_names(store, "3")
    outbox.number()
    first, second = outbox.frames(after=0, limit=10)

    assert (first.position, [event.id for event in first.events]) == (1, ["1", "2"])
    assert (second.position, [event.id for event in second.events]) == (2, ["3"])


def test_a_batch_of_duplicates_has_counts_and_no_events(store, outbox):
    ingest_names(store, "1")
    ingest_names(store, "1", "1")
    outbox.number()
    frame = outbox.frames(after=1, limit=1)[0]

    assert ([count.duplicate for count in frame.counts], frame.events) == ([2], [])


def test_a_large_batch_has_exact_counts_and_a_sample_of_events(store, outbox):
    ingest_names(store, *map(str, range(300)))
    outbox.number()
    frame = outbox.frames(after=0, limit=1)[0]

    assert (sum(count.stored for count in frame.counts), len(frame.events)) == (300, MAX_FRAME_EVENTS)


def test_the_relay_sends_each_frame_once_and_in_order(store, outbox):
    recorder = Recorder()
    ingest_names(store, "1")
    ingest_names(store, "2")

    assert relay("test", outbox=outbox, broadcaster=recorder) == 2
    assert relay("test", outbox=outbox, broadcaster=recorder) == 0
    ingest_names(store, "3")
    relay("test", outbox=outbox, broadcaster=recorder)
    assert recorder.positions == [1, 2, 3]


def test_many_clients_get_two_messages_a_second_with_exact_counts(store, outbox, monkeypatch):
    """Each message is a post to each of them. It has every position, so that no client fetches what it lacks."""
    clock, times = Clock(), list[float]()
    monkeypatch.setattr(relaying, "time", clock)

    class Crowd(Recorder):
        def client_count(self) -> int:
            return 51

        def broadcast(self, message: bytes) -> None:
            super().broadcast(message)
            times.append(clock.monotonic())

    for batch in range(SAMPLED + 10):
        ingest_names(store, *(f"{batch}-{number}" for number in range(3)))
    crowd = Crowd()
    assert relay("test", outbox=outbox, broadcaster=crowd, sample_above=50) == SAMPLED + 10

    frames = [frame for message in crowd.messages for frame in json.loads(message)["frames"]]
    assert times == [0, SAMPLE_SECONDS]
    assert crowd.positions == list(range(1, SAMPLED + 11))
    assert sum(count["stored"] for frame in frames for count in frame["counts"]) == 3 * (SAMPLED + 10)
    assert sum(len(frame["events"]) for frame in frames) < 3 * (SAMPLED + 10)
    assert max(map(len, crowd.messages)) <= MAX_MESSAGE_BYTES


def test_two_consumers_have_separate_offsets(store, outbox):
    first, second = Recorder(), Recorder()
    ingest_names(store, "1")
    relay("one", outbox=outbox, broadcaster=first)
    ingest_names(store, "2")
    relay("other", outbox=outbox, broadcaster=second)

    assert (first.positions, second.positions) == ([1], [1, 2])


def test_a_relay_that_fails_before_it_sends_sends_the_same_positions_later(store, outbox):
    """Clients detect repeats by position, so a position must never refer to another frame."""
    ingest_names(store, "1")
    with pytest.raises(Retryable):
        relay("test", outbox=outbox, broadcaster=Recorder(fails_after=0))
    ingest_names(store, "2")
    recorder = Recorder()
    relay("test", outbox=outbox, broadcaster=recorder)

    frames = [frame for message in recorder.messages for frame in json.loads(message)["frames"]]
    assert [(frame["position"], frame["events"][0]["id"]) for frame in frames] == [(1, "1"), (2, "2")]


def test_a_relay_may_take_longer_than_the_idle_timeout_of_a_transaction(postgres_store, direct_url):
    """Otherwise the relay would resend the same frames without end, and never reach the later ones."""

    class SlowRecorder(Recorder):
        def broadcast(self, message: bytes) -> None:
            time.sleep(1)
            super().broadcast(message)

    for batch in range(6):
        ingest_names(postgres_store, *(f"{batch}-{number}" for number in range(100)), type_="T" * 256)
    recorder = SlowRecorder()
    with open_pool(direct_url, connections=2, timeout_seconds=5) as pool:
        relay("test", outbox=PostgresOutbox(pool), broadcaster=recorder)

    assert (len(recorder.messages), recorder.positions) == (6, [1, 2, 3, 4, 5, 6])


def ingest_large_batches(store, batches: int) -> None:
    """Ingest batches whose frames fill one message each."""
    for batch in range(batches):
        ingest_names(store, *(f"{batch}-{number}" for number in range(100)), type_="T" * 256)


def test_a_relay_that_is_killed_repeatedly_still_finishes_a_backlog(store, outbox, monkeypatch):
    """Frames of completed pages are not resent, whatever ends the process."""

    class KilledRecorder(Recorder):
        def broadcast(self, message: bytes) -> None:
            if len(self.messages) == 3:
                raise KeyboardInterrupt
            super().broadcast(message)

    monkeypatch.setattr(relaying, "BATCH", 2)
    ingest_large_batches(store, 5)
    killed, recorder = KilledRecorder(), Recorder()
    with pytest.raises(KeyboardInterrupt):
        relay("test", outbox=outbox, broadcaster=killed)

    assert relay("test", outbox=outbox, broadcaster=recorder) == 3
    assert (killed.positions, recorder.positions) == ([1, 2, 3], [3, 4, 5])


def test_frames_sent_before_a_failure_are_not_sent_again(store, outbox):
    ingest_large_batches(store, 4)
    first, second = Recorder(fails_after=2), Recorder()
    with pytest.raises(Retryable):
        relay("test", outbox=outbox, broadcaster=first)
    relay("test", outbox=outbox, broadcaster=second)

    assert (first.positions, second.positions) == ([1, 2], [3, 4])


class Clock:
    """The time of a relay, which passes only while something sleeps."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class CountingNotifier:
    """A notifier that counts."""

    notifications = 0

    def notify(self) -> None:
        self.notifications += 1


def test_a_relay_that_reaches_its_time_limit_notifies_for_the_rest(store, outbox, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(relaying, "time", clock)

    class SlowRecorder(Recorder):
        def broadcast(self, message: bytes) -> None:
            super().broadcast(message)
            clock.sleep(10)

    ingest_large_batches(store, 3)
    notifier, recorder = CountingNotifier(), SlowRecorder()

    assert relay("test", outbox=outbox, broadcaster=recorder, seconds=9, notifier=notifier) == 1
    assert notifier.notifications == 1
    assert relay("test", outbox=outbox, broadcaster=recorder, seconds=60, notifier=notifier) == 2
    assert (recorder.positions, notifier.notifications) == ([1, 2, 3], 1)


def test_a_relay_whose_time_is_over_when_it_has_the_offset_begins_no_message(store, outbox):
    """Lambda would end the call in the middle of it."""
    ingest_names(store, "1")
    notifier, recorder = CountingNotifier(), Recorder()

    assert relay("test", outbox=outbox, broadcaster=recorder, seconds=0, notifier=notifier) == 0
    assert (recorder.messages, notifier.notifications) == ([], 1)


def test_a_relay_does_not_wait_for_frames_that_were_removed(store, outbox):
    """They can't be sent any more."""
    ingest_names(store, "1")
    outbox.number()
    sweep(datetime.now(UTC) + MAX_FRAME_RETENTION + timedelta(seconds=1), store=store, reconciler=NO_FLOWS)

    assert relay("test", outbox=outbox, broadcaster=Recorder()) == 0


def test_a_relay_sends_what_is_stored_while_it_lingers(store, outbox, monkeypatch):
    """The notification of these frames may be late, because a cloud froze the process that sends it."""
    ingest_names(store, "1")
    recorder = Recorder()

    class Lingering(Clock):
        def sleep(self, seconds: float) -> None:
            if not self.now:
                assert recorder.positions == [1]
                ingest_names(store, "2")
            super().sleep(seconds)

    monkeypatch.setattr(relaying, "time", Lingering())

    assert relay("test", outbox=outbox, broadcaster=recorder, linger_seconds=2) == 2
    assert recorder.positions == [1, 2]


def test_messages_stay_below_the_gateways_frame_size(store, outbox):
    """This holds even if a hundred events have types of the maximum length."""
    ingest_names(store, *map(str, range(100)), type_="T" * 256)
    for number in range(200):
        ingest_names(store, f"small-{number}")
    outbox.number()
    sent = [message for _, message in messages(outbox.frames(after=0, limit=500))]
    frames = [frame for message in sent for frame in json.loads(message)["frames"]]

    assert max(map(len, sent)) <= MAX_MESSAGE_BYTES
    assert [frame["position"] for frame in frames] == list(range(1, 202))
    assert sum(count["stored"] for frame in frames for count in frame["counts"]) == 300
    assert 0 < len(frames[0]["events"]) < 100


def test_consumers_are_listed_with_their_lag(store, outbox):
    """The lag includes a published frame, with or without a position."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    ingest_names(store, "1")
    relay("present", outbox=outbox, broadcaster=Recorder())
    ingest_names(store, "2")
    ingest_names(store, "3")
    missing, present = outbox.consumers("missing")

    assert (missing.name, missing.behind, missing.seen_at) == ("missing", 3, None)
    assert (present.name, present.behind) == ("present", 2)
    assert before < missing.waiting_since < present.waiting_since
    assert before < present.seen_at
    outbox.number()
    assert outbox.consumers("missing") == [missing, present]


def test_a_consumer_updates_its_time_even_without_frames(store, outbox):
    relay("present", outbox=outbox, broadcaster=Recorder())
    (first,) = outbox.consumers()
    relay("present", outbox=outbox, broadcaster=Recorder())
    (second,) = outbox.consumers("present")

    assert (second.behind, second.waiting_since, second.parked) == (0, None, 0)
    assert first.seen_at < second.seen_at


def test_the_outbox_returns_every_stored_event_completely(store, outbox):
    """This includes events that are not in the frame's sample."""
    ingest_names(store, *map(str, range(150)))
    ingest_names(store, "1")
    outbox.number()
    first, second = outbox.events(after=0, limit=10)

    assert {event.id for event in first.events} == set(map(str, range(150)))
    assert first.events[0] == store.event(first.events[0].key)
    assert (second.position, second.events) == (2, [])


def test_frames_are_retained_for_a_lagging_consumer_up_to_a_limit(store, outbox):
    ingest_names(store, "1")
    relay("kafka", outbox=outbox, broadcaster=Recorder())
    ingest_names(store, "2")
    outbox.number()
    now = datetime.now(UTC) + timedelta(seconds=1)

    assert sweep(now + FRAME_RETENTION, store=store, reconciler=NO_FLOWS).frames == 1
    assert [frame.position for frame in outbox.frames(after=0, limit=10)] == [2]
    assert sweep(now + MAX_FRAME_RETENTION, store=store, reconciler=NO_FLOWS).frames == 1


def test_the_window_gives_the_oldest_available_position(store, outbox):
    """After a sweep, a client that was disconnected too long learns that it has a gap."""
    ingest_names(store, "1")
    outbox.number()
    assert (outbox.window().oldest, outbox.window().position) == (1, 1)

    assert (
        sweep(datetime.now(UTC) + FRAME_RETENTION + timedelta(seconds=1), store=store, reconciler=NO_FLOWS).frames == 1
    )
    assert (outbox.window().oldest, outbox.window().position) == (None, 1)
    ingest_names(store, "2")
    outbox.number()
    assert (outbox.window().oldest, outbox.window().position) == (2, 2)


def test_positions_have_no_gaps_with_many_writers_and_relays(store, outbox):
    recorders = [Recorder() for _ in range(3)]

    def write(writer: int) -> None:
        for number in range(25):
            ingest_names(store, f"{writer}-{number}")

    def follow(recorder: Recorder) -> None:
        while len(recorder.positions) + sum(len(other.positions) for other in recorders if other is not recorder) < 75:
            relay("shared", outbox=outbox, broadcaster=recorder)

    with ThreadPoolExecutor(6) as pool:
        work = [pool.submit(write, writer) for writer in range(3)]
        work += [pool.submit(follow, recorder) for recorder in recorders]
        for future in work:
            future.result(timeout=60)

    assert sorted(position for recorder in recorders for position in recorder.positions) == list(range(1, 76))


def test_a_second_relay_of_one_name_returns_at_once_and_the_first_sends_its_frames(store, outbox):
    """It waits for no lock, and no frame is left to a notification that has already been handled."""
    ingest_names(store, "1")
    entered, may_leave = threading.Event(), threading.Event()

    class BlockingRecorder(Recorder):
        def broadcast(self, message: bytes) -> None:
            entered.set()
            assert may_leave.wait(20)
            super().broadcast(message)

    first, second = BlockingRecorder(), Recorder()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(relay, "shared", outbox=outbox, broadcaster=first)
        assert entered.wait(20)
        ingest_names(store, "2")
        assert relay("shared", outbox=outbox, broadcaster=second) == 0
        may_leave.set()
        assert running.result(timeout=20) == 2

    assert (first.positions, second.positions) == ([1, 2], [])


def test_a_notification_wakes_the_listener(direct_url, pool):
    """No notification before the first wait can be missed, because the first wait returns at once."""
    listener = PostgresListener(direct_url)
    listener.wait(60)
    PostgresNotifier(pool).notify()
    started = datetime.now(UTC)
    listener.wait(60)
    listener.close()

    assert datetime.now(UTC) - started < timedelta(seconds=30)


def test_behind_a_pooler_a_listener_looks_for_frames_itself(pgbouncer, database_url, caplog):
    """Its LISTEN would stay in a session that other clients use."""
    listener = PostgresListener(pgbouncer.through(database_url))
    listener.wait(60)
    started = time.monotonic()
    listener.wait(60)
    listener.wait(60)
    listener.close()

    assert time.monotonic() - started < 30
    assert [record.message for record in caplog.records if record.name == "helios.stream"] == [
        "HELIOS_DATABASE_URL is a pooler: set HELIOS_DATABASE_DIRECT_URL to be notified of new frames"
    ]
