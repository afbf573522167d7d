"""The contract of replay jobs, on every store that Helios ships."""

from datetime import timedelta

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
from helios.services.replay import ReplayStarter, ReplayWorker
from tests.fakes.replay import MemoryReplayJobs
from tests.fakes.store import MemoryOutbox
from tests.support.deliveries import NOON, aws_key, eventbridge, eventgrid, poison

LATER = NOON + timedelta(hours=1)
WEBHOOK = Target(kind="webhook", url="https://hooks.example/")


class Recorder:
    """A target that records its events, and fails or refuses as the test configures it.

    Attributes:
        sent: the ids of received events, each with the job that marked it.
        outages: the number of further calls that raise TargetUnavailable after one event.
        refused: ids that it does not accept.
    """

    batch = 3

    def __init__(self):
        self.sent = []
        self.outages = 0
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
            if self.outages:
                self.outages -= 1
                raise TargetUnavailable("it is away", after_seconds=0.01)

    def close(self):
        self.closed += 1


@pytest.fixture
def jobs(store, request):
    """Every replay job store that Helios ships."""
    if "memory" in request.node.callspec.id:
        return MemoryReplayJobs(store)
    return PostgresReplayJobs(request.getfixturevalue("pool"))


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
def ingest_now(store):
    def ingest_now(deliveries, *, also_write=None, accept=False):
        return ingest(deliveries, dedupe=NullDedupeCache(), store=store, also_write=also_write)

    return ingest_now


@pytest.fixture
def worker(jobs, store, target, ingest_now, notifier):
    return ReplayWorker(jobs, target, store=store, ingest=ingest_now, notifier=notifier)


@pytest.fixture
def start(jobs, target):
    """Starts a job with a rate that does not delay the test."""

    def begin(*, what="events", to=WEBHOOK, per_second=10_000, **where):
        request = ReplayRequest(what=what, target=to, filter=ReplayFilter(**where), per_second=per_second)
        return ReplayStarter(jobs, target)(request, actor="ann", now=LATER)

    return begin


@pytest.fixture
def event_ids(store, ingest_now):
    """The ids of seven stored events. Two of them were received at the same moment."""
    for second in (0, 1, 1, 2, 3, 4, 5):
        number = store.totals(LATER).stored
        ingest_now([eventbridge(f"e{number}", received_at=NOON + timedelta(seconds=second))])
    return [f"e{number}" for number in range(7)]


def test_a_job_sends_its_events_in_order_with_its_mark(jobs, worker, target, start, event_ids):
    job = start()

    assert worker.run()

    assert target.sent == [(job.id, id_) for id_ in event_ids]
    done = jobs.get(job.id)
    assert (done.state, done.sent, done.failed, done.matching) == ("done", 7, 0, 7)
    assert done.checkpoint == Checkpoint(
        received_at=NOON + timedelta(seconds=5), source="aws", id="e6", producer=aws_key()[1]
    )
    assert jobs.first_running() is None


def test_a_job_sends_only_the_events_of_its_filter(store, ingest_now, jobs, worker, target, start, event_ids):
    ingest_now([eventgrid("g")])
    start(source="aws", since=NOON + timedelta(seconds=1), until=NOON + timedelta(seconds=4))
    start(type="InventoryReserved")
    start(order_id="ORD-e6")

    worker.run()

    assert sent_ids(target) == ["e1", "e2", "e3", "e4", "g", "e6"]


def sent_ids(target):
    return [id_ for _, id_ in target.sent]


def test_an_event_received_after_the_start_of_a_job_is_not_sent(ingest_now, worker, target, start, event_ids):
    start(until=LATER + timedelta(days=1))
    ingest_now([eventbridge("late", received_at=LATER)])

    worker.run()

    assert sent_ids(target) == event_ids


def test_a_dry_run_counts_the_matching_events_and_stores_no_job(jobs, target, event_ids):
    request = ReplayRequest(what="events", target=WEBHOOK, dry_run=True)

    preview = ReplayStarter(jobs, target).preview(request, LATER)

    assert (preview.matching, preview.oldest, preview.newest) == (7, NOON, NOON + timedelta(seconds=5))
    assert preview.examples == [f"aws/{id_}" for id_ in event_ids[:5]]
    assert jobs.page(after=None, limit=10).items == []


def test_an_unavailable_target_is_retried_from_the_last_event(jobs, worker, target, start, event_ids):
    target.outages = 3
    job = start()

    worker.run()

    assert sent_ids(target) == event_ids
    assert jobs.get(job.id).last_error == "it is away"


def test_a_target_that_stays_unavailable_fails_its_job_and_not_the_next_one(
    jobs, worker, target, start, event_ids, monkeypatch
):
    def raise_unavailable(_job, _events):
        raise TargetUnavailable("nobody is there")
        yield

    job, next_job = start(), start(to=Target(kind="relay"))
    monkeypatch.setattr(target, "send", raise_unavailable)

    worker.run()

    assert (jobs.get(job.id).state, jobs.get(job.id).last_error) == ("failed", "nobody is there")
    assert jobs.get(next_job.id).state == "done"


def test_a_refused_event_is_counted_and_the_others_are_sent(jobs, worker, target, start, event_ids):
    target.refused = {"e2"}
    job = start()

    worker.run()

    assert sent_ids(target) == [id_ for id_ in event_ids if id_ != "e2"]
    done = jobs.get(job.id)
    assert (done.sent, done.failed, done.last_error) == (6, 1, "e2 is not wanted")


def test_a_target_that_is_no_longer_allowed_fails_the_job(jobs, worker, target, start, event_ids, monkeypatch):
    job = start()

    def refuse(_):
        raise Rejected("is not allowed", field="target.url")

    monkeypatch.setattr(target, "open", refuse)
    worker.run()

    assert (jobs.get(job.id).state, jobs.get(job.id).last_error) == ("failed", "target.url is not allowed")


def test_a_bug_fails_its_job_and_not_the_next_one(jobs, worker, target, start, event_ids, monkeypatch):
    def raise_key_error(_job, _events):
        raise KeyError("data")

    job, next_job = start(), start(to=Target(kind="relay"))
    monkeypatch.setattr(target, "send", raise_key_error)

    worker.run()

    assert (jobs.get(job.id).state, jobs.get(job.id).last_error) == ("failed", "KeyError: 'data'")
    assert jobs.get(next_job.id).state == "done"


def test_a_batch_waits_while_live_traffic_is_ingested(jobs, store, target, ingest_now, notifier, start, event_ids):
    busy_answers = [True] * 5
    sent_counts: list[int] = []

    def is_busy():
        sent_counts.append(len(target.sent))
        return busy_answers.pop() if busy_answers else False

    start()
    ReplayWorker(jobs, target, store=store, ingest=ingest_now, notifier=notifier, is_busy=is_busy).run()

    assert sent_counts[:6] == [0] * 6
    assert sent_ids(target) == event_ids


def test_a_cancelled_job_ends_after_its_batch(jobs, worker, target, start, event_ids):
    job = start()
    target.before_each = lambda: jobs.end(job.id, "cancelled", actor="kim", now=LATER)

    worker.run()

    assert sent_ids(target) == event_ids[: Recorder.batch]
    assert jobs.get(job.id).state == "cancelled"
    assert jobs.end(job.id, "cancelled", actor="kim", now=LATER) is None
    assert target.closed > 1


def test_a_checkpoint_never_moves_back(jobs, start, event_ids):
    """A worker that has lost its turn without notice sends events again and changes nothing."""
    job = start()
    first, second = (Checkpoint(received_at=NOON, source="aws", id=id_) for id_ in ("e0", "e1"))

    assert jobs.advance(msgspec.structs.replace(job, checkpoint=first, sent=1), was=None)
    assert jobs.advance(msgspec.structs.replace(job, checkpoint=second, sent=2), was=first)
    assert not jobs.advance(msgspec.structs.replace(job, checkpoint=first, sent=1), was=None)
    assert not jobs.advance(msgspec.structs.replace(job, checkpoint=first, sent=1), was=first)
    assert (jobs.get(job.id).checkpoint, jobs.get(job.id).sent) == (second, 2)


def test_only_one_worker_runs_at_a_time(jobs, worker, start, event_ids):
    job = start()
    with jobs.turn() as is_turn:
        assert is_turn
        assert not worker.run()
    assert jobs.get(job.id).state == "running"
    assert worker.run()


def test_clients_of_the_stream_get_the_events_again_without_counts(store, outbox, jobs, worker, start, event_ids):
    outbox.number()
    totals = store.totals(LATER)
    position = outbox.window().position
    job = start(to=Target(kind="relay"))

    worker.run()

    outbox.number()
    frames = outbox.frames(after=position, limit=100)
    assert [event.id for frame in frames for event in frame.events] == event_ids
    assert {(frame.replay, len(frame.counts)) for frame in frames} == {(job.id, 0)}
    assert [page.events for page in outbox.events(after=position, limit=100)] == [[]] * len(frames)
    assert store.totals(LATER) == msgspec.structs.replace(totals, position=frames[-1].position)


def test_dead_letters_that_are_still_unreadable_stay_dead_letters(store, ingest_now, jobs, worker, start):
    ingest_now([poison(b"{")])
    ingest_now([poison(eventbridge("1").body[:-1])])
    job = start(what="dead_letters", to=Target(kind="ingest"))

    worker.run()

    done = jobs.get(job.id)
    assert (done.state, done.sent, done.failed) == ("done", 0, 2)
    assert done.last_error.startswith("dead letter ")
    assert store.totals(LATER).rejected == 2


def test_dead_letters_that_are_now_readable_become_events(store, ingest_now, jobs, worker, start, monkeypatch):
    """An unchanged dead letter becomes readable only if Helios accepts more than before."""
    with monkeypatch.context() as patched:
        patched.setitem(NORMALISERS, "eventbridge", refuse_delivery)
        ingest_now([eventbridge("1"), eventbridge("2")])
    preview = jobs.matching("dead_letters", ReplayFilter())
    job = start(what="dead_letters", to=Target(kind="ingest"))

    worker.run()

    assert preview.matching == 2
    assert (jobs.get(job.id).sent, store.totals(LATER).stored) == (2, 2)
    lines = store.audit_log(action="dead_letter_replayed", limit=10).items
    assert {line.actor for line in lines} == {"ann"}
    assert all(line.detail.endswith(f"(replay job {job.id})") for line in lines)
    assert jobs.matching("dead_letters", ReplayFilter()).matching == 0


def refuse_delivery(_delivery):
    raise Rejected("is not known yet", field="detail-type")


def test_the_audit_log_names_the_actor_who_starts_cancels_or_ends_a_job(store, jobs, worker, start, event_ids):
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


def test_jobs_are_listed_newest_first(jobs, start):
    job_ids = [start().id for _ in range(3)]

    page = jobs.page(after=None, limit=2)
    rest = jobs.page(after=page.next_cursor, limit=2)

    assert [job.id for job in page.items + rest.items] == job_ids[::-1]
    assert rest.next_cursor is None
    assert jobs.get(job_ids[-1] + 1) is None


@pytest.mark.parametrize(
    ("request_fields", "field"),
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
def test_an_inconsistent_job_is_refused_with_its_field(jobs, target, request_fields, field, store):
    with pytest.raises(Rejected) as refused:
        ReplayStarter(jobs, target)(ReplayRequest(**request_fields), actor="ann", now=LATER)

    assert refused.value.field == field
    assert store.audit_log(limit=1).items == []
