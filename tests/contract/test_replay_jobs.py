"""What replay jobs promise, on every store that Helios ships."""

from datetime import timedelta
from functools import partial

import msgspec
import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.replay import PostgresReplayJobs
from helios.adapters.postgres.stream import PostgresNotifier, PostgresOutbox
from helios.errors import Rejected, TargetUnavailable
from helios.model.replay import SENT, Checkpoint, Replayed, ReplayFilter, ReplayRequest, Target
from helios.normalise import NORMALISERS
from helios.services import replay as replay_worker
from helios.services.ingest import ingest
from helios.services.replay import ReplayWorker
from helios.services.replay_jobs import ReplayStarter
from tests.fakes.replay import MemoryReplayJobs
from tests.fakes.store import MemoryOutbox
from tests.support.deliveries import NOON, eventbridge, eventgrid, poison

LATER = NOON + timedelta(hours=1)
WEBHOOK = Target(kind="webhook", url="https://hooks.example/")


class Recorder:
    """A target that keeps what it is sent, and does with each call what it was told.

    Attributes:
        sent: the ids that have arrived, with the job that marked them.
        away: how many calls it still answers with TargetUnavailable, after it took one event.
        refused: ids that it will not take.
    """

    batch = 3

    def __init__(self):
        self.sent = []
        self.away = 0
        self.refused = set()
        self.closed = 0
        self.before_each = lambda: None

    def open(self, target):
        if target.url != WEBHOOK.url:
            raise Rejected("is not allowed", field="target.url")
        return self

    def send(self, job, events):
        for event in events:
            self.before_each()
            if event.id in self.refused:
                yield Replayed("failed", f"{event.id} is not wanted")
                continue
            self.sent.append((job.id, event.id))
            yield SENT
            if self.away:
                self.away -= 1
                raise TargetUnavailable("it is away", after_seconds=0.01)

    def close(self):
        self.closed += 1


@pytest.fixture
def jobs(store, request):
    """Every keeper of replay jobs that Helios ships."""
    if "memory" in request.node.callspec.id:
        return MemoryReplayJobs(store)
    return PostgresReplayJobs(request.getfixturevalue("pool"), request.getfixturevalue("database_url"))


@pytest.fixture
def outbox(store, request):
    if "memory" in request.node.callspec.id:
        return MemoryOutbox(store)
    return PostgresOutbox(request.getfixturevalue("pool"))


@pytest.fixture
def notifier(store, request):
    return (
        MemoryOutbox(store)
        if "memory" in request.node.callspec.id
        else PostgresNotifier(request.getfixturevalue("pool"))
    )


@pytest.fixture
def target(monkeypatch):
    monkeypatch.setattr(replay_worker, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(replay_worker, "LONGEST_PAUSE_SECONDS", 0.001)
    return Recorder()


@pytest.fixture
def take_in(store):
    return partial(ingest, dedupe=NullDedupeCache(), store=store)


@pytest.fixture
def worker(jobs, store, target, take_in, notifier):
    return ReplayWorker(jobs, target, store=store, ingest=take_in, notifier=notifier)


@pytest.fixture
def start(jobs, target):
    """Begin a job of a rate that holds nothing up."""

    def begin(*, what="events", to=WEBHOOK, per_second=10_000, **where):
        request = ReplayRequest(what=what, target=to, filter=ReplayFilter(**where), per_second=per_second)
        return ReplayStarter(jobs, target)(request, actor="ann", now=LATER)

    return begin


@pytest.fixture
def seven(store, take_in):
    """Seven events; two were received at the same moment."""
    for second in (0, 1, 1, 2, 3, 4, 5):
        number = store.totals(LATER).stored
        take_in([eventbridge(f"e{number}", received_at=NOON + timedelta(seconds=second))])
    return [f"e{number}" for number in range(7)]


def test_a_job_sends_all_its_events_in_order_and_marked(jobs, worker, target, start, seven):
    job = start()

    assert worker.run()

    assert target.sent == [(job.id, id_) for id_ in seven]
    done = jobs.get(job.id)
    assert (done.state, done.sent, done.failed, done.matching) == ("done", 7, 0, 7)
    assert done.checkpoint == Checkpoint(received_at=NOON + timedelta(seconds=5), source="aws", id="e6")
    assert jobs.first_running() is None


def test_a_filter_leaves_what_it_says(store, take_in, jobs, worker, target, start, seven):
    take_in([eventgrid("g")])
    start(source="aws", since=NOON + timedelta(seconds=1), until=NOON + timedelta(seconds=4))
    start(type="InventoryReserved")
    start(order_id="ORD-e6")

    worker.run()

    assert _ids(target) == ["e1", "e2", "e3", "e4", "g", "e6"]


def _ids(target):
    return [id_ for _, id_ in target.sent]


def test_what_arrives_after_a_job_was_made_is_no_part_of_it(take_in, worker, target, start, seven):
    start(until=LATER + timedelta(days=1))
    take_in([eventbridge("late", received_at=LATER)])

    worker.run()

    assert _ids(target) == seven


def test_what_would_be_sent_is_told_and_nothing_is_kept(jobs, target, seven):
    request = ReplayRequest(what="events", target=WEBHOOK, dry_run=True)

    would = ReplayStarter(jobs, target).preview(request, LATER)

    assert (would.matching, would.oldest, would.newest) == (7, NOON, NOON + timedelta(seconds=5))
    assert would.examples == [f"aws/{id_}" for id_ in seven[:5]]
    assert jobs.page(after=None, limit=10).items == []


def test_a_target_that_is_away_is_asked_again_from_where_it_was(jobs, worker, target, start, seven):
    target.away = 3
    job = start()

    worker.run()

    assert _ids(target) == seven
    assert jobs.get(job.id).last_error == "it is away"


def test_a_target_that_stays_away_fails_the_job_and_the_next_one_goes_on(
    jobs, worker, target, start, seven, monkeypatch
):
    def away(_job, _events):
        raise TargetUnavailable("nobody is there")
        yield

    job, after = start(), start(to=Target(kind="relay"))
    monkeypatch.setattr(target, "send", away)

    worker.run()

    assert (jobs.get(job.id).state, jobs.get(job.id).last_error) == ("failed", "nobody is there")
    assert jobs.get(after.id).state == "done"


def test_what_a_target_refuses_is_counted_and_the_others_go_on(jobs, worker, target, start, seven):
    target.refused = {"e2"}
    job = start()

    worker.run()

    assert _ids(target) == [id_ for id_ in seven if id_ != "e2"]
    done = jobs.get(job.id)
    assert (done.sent, done.failed, done.last_error) == (6, 1, "e2 is not wanted")


def test_a_target_that_is_not_allowed_any_more_fails_the_job(jobs, worker, target, start, seven, monkeypatch):
    job = start()

    def refuse(_):
        raise Rejected("is not allowed", field="target.url")

    monkeypatch.setattr(target, "open", refuse)
    worker.run()

    assert (jobs.get(job.id).state, jobs.get(job.id).last_error) == ("failed", "target.url is not allowed")


def test_a_defect_fails_its_job_and_the_next_one_goes_on(jobs, worker, target, start, seven, monkeypatch):
    def broken(_job, _events):
        raise KeyError("data")

    job, after = start(), start(to=Target(kind="relay"))
    monkeypatch.setattr(target, "send", broken)

    worker.run()

    assert (jobs.get(job.id).state, jobs.get(job.id).last_error) == ("failed", "KeyError: 'data'")
    assert jobs.get(after.id).state == "done"


def test_a_batch_waits_while_live_traffic_is_being_stored(jobs, store, target, take_in, notifier, start, seven):
    waiting = [True] * 5
    seen: list[int] = []

    def is_busy():
        seen.append(len(target.sent))
        return waiting.pop() if waiting else False

    start()
    ReplayWorker(jobs, target, store=store, ingest=take_in, notifier=notifier, is_busy=is_busy).run()

    assert seen[:6] == [0] * 6
    assert _ids(target) == seven


def test_a_job_that_is_cancelled_ends_with_its_batch(jobs, worker, target, start, seven):
    job = start()
    target.before_each = lambda: jobs.end(job.id, "cancelled", actor="kim", now=LATER)

    worker.run()

    assert _ids(target) == seven[: Recorder.batch]
    assert jobs.get(job.id).state == "cancelled"
    assert jobs.end(job.id, "cancelled", actor="kim", now=LATER) is None
    assert target.closed > 1


def test_a_job_never_moves_back(jobs, start, seven):
    """A worker that has lost its turn, and does not know it, sends again and changes nothing."""
    job = start()
    first, second = (Checkpoint(received_at=NOON, source="aws", id=id_) for id_ in ("e0", "e1"))

    assert jobs.advance(msgspec.structs.replace(job, checkpoint=first, sent=1), was=None)
    assert jobs.advance(msgspec.structs.replace(job, checkpoint=second, sent=2), was=first)
    assert not jobs.advance(msgspec.structs.replace(job, checkpoint=first, sent=1), was=None)
    assert not jobs.advance(msgspec.structs.replace(job, checkpoint=first, sent=1), was=first)
    assert (jobs.get(job.id).checkpoint, jobs.get(job.id).sent) == (second, 2)


def test_one_works_at_a_time(jobs, worker, start, seven):
    job = start()
    with jobs.turn() as mine:
        assert mine
        assert not worker.run()
    assert jobs.get(job.id).state == "running"
    assert worker.run()


def test_who_watches_sees_the_events_again_and_counts_nothing(store, outbox, jobs, worker, start, seven):
    outbox.number()
    totals = store.totals(LATER)
    position = outbox.window().position
    job = start(to=Target(kind="relay"))

    worker.run()

    outbox.number()
    frames = outbox.frames(after=position, limit=100)
    assert [event.id for frame in frames for event in frame.events] == seven
    assert {(frame.replay, len(frame.counts)) for frame in frames} == {(job.id, 0)}
    assert [page.events for page in outbox.events(after=position, limit=100)] == [[]] * len(frames)
    assert store.totals(LATER) == msgspec.structs.replace(totals, position=frames[-1].position)


def test_dead_letters_are_taken_in_again_and_what_is_still_wrong_stays(store, take_in, jobs, worker, start):
    take_in([poison(b"{")])
    take_in([poison(eventbridge("1").body[:-1])])
    job = start(what="dead_letters", to=Target(kind="ingest"))

    worker.run()

    done = jobs.get(job.id)
    assert (done.state, done.sent, done.failed) == ("done", 0, 2)
    assert done.last_error.startswith("dead letter ")
    assert store.totals(LATER).rejected == 2


def test_dead_letters_that_can_be_read_now_become_events(store, take_in, jobs, worker, start, monkeypatch):
    """A letter is only ever readable again because Helios reads more than it did."""
    with monkeypatch.context() as older:
        older.setitem(NORMALISERS, "eventbridge", _refusing)
        take_in([eventbridge("1"), eventbridge("2")])
    would = jobs.matching("dead_letters", ReplayFilter())
    job = start(what="dead_letters", to=Target(kind="ingest"))

    worker.run()

    assert would.matching == 2
    assert (jobs.get(job.id).sent, store.totals(LATER).stored) == (2, 2)
    lines = store.audit_log(action="dead_letter_replayed", limit=10).items
    assert {line.actor for line in lines} == {"ann"}
    assert all(line.detail.endswith(f"(replay job {job.id})") for line in lines)
    assert jobs.matching("dead_letters", ReplayFilter()).matching == 0


def _refusing(_delivery):
    raise Rejected("is not known yet", field="detail-type")


def test_whoever_begins_cancels_and_ends_a_job_is_in_the_audit_log(store, jobs, worker, start, seven):
    first, second = start(), start()
    jobs.end(second.id, "cancelled", actor="kim", now=LATER)
    worker.run()

    lines = [(line.actor, line.action, line.subject) for line in store.audit_log(limit=10).items]
    assert lines == [
        ("helios", "replay_finished", f"replay job {first.id}"),
        ("kim", "replay_cancelled", f"replay job {second.id}"),
        ("ann", "replay_started", f"replay job {second.id}"),
        ("ann", "replay_started", f"replay job {first.id}"),
    ]


def test_jobs_are_listed_the_newest_first(jobs, start):
    made = [start().id for _ in range(3)]

    page = jobs.page(after=None, limit=2)
    rest = jobs.page(after=page.next_cursor, limit=2)

    assert [job.id for job in page.items + rest.items] == made[::-1]
    assert rest.next_cursor is None
    assert jobs.get(made[-1] + 1) is None


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"what": "events", "target": Target(kind="ingest")}, "target.kind"),
        ({"what": "dead_letters", "target": Target(kind="relay")}, "target.kind"),
        ({"what": "events", "target": Target(kind="webhook")}, "target.url"),
        ({"what": "events", "target": Target(kind="relay", cloud="aws")}, "target.cloud"),
        ({"what": "events", "target": Target(kind="cloud", cloud="aws")}, "filter.source"),
        ({"what": "events", "target": Target(kind="relay"), "filter": ReplayFilter(field="id")}, "filter.field"),
        ({"what": "events", "target": Target(kind="relay"), "filter": ReplayFilter(source="unknown")}, "filter.source"),
        ({"what": "events", "target": Target(kind="relay"), "filter": ReplayFilter(type="\0")}, "filter.type"),
        ({"what": "dead_letters", "target": Target(kind="ingest"), "filter": ReplayFilter(type="x")}, "filter.type"),
        ({"what": "events", "target": Target(kind="webhook", url="http://x")}, "target.url"),
    ],
)
def test_a_job_whose_parts_do_not_fit_is_refused(jobs, target, asked, field, store):
    with pytest.raises(Rejected) as refused:
        ReplayStarter(jobs, target)(ReplayRequest(**asked), actor="ann", now=LATER)

    assert refused.value.field == field
    assert store.audit_log(limit=1).items == []
