"""The Lambda that works on replay jobs, with events of its schedule."""

import pytest

from helios.adapters import guarded_http
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.replay import PostgresReplayJobs
from helios.adapters.postgres.stream import PostgresOutbox
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.errors import Rejected, Retryable
from helios.model.events import EventFilter
from helios.model.replay import ReplayFilter, ReplayRequest, Target
from helios.normalise import NORMALISERS
from helios.services import replay as replay_worker
from helios.services.ingest import ingest
from tests.support.aws_lambda import Context
from tests.support.deliveries import NOON, eventbridge

IDS = [f"{number:03}" for number in range(12)]
TO_STREAM = Target(kind="relay")
MAX_SECONDS = 900
"""The maximum duration of a Lambda call, and Terraform's timeout of this function."""


@pytest.fixture
def replays(load_handler):
    """The function after a cold start."""
    return load_handler("aws/replay/handler")


@pytest.fixture
def jobs(pool, database_url):
    return PostgresReplayJobs(pool)


@pytest.fixture
def start(jobs):
    """Stores a job, as the API does."""

    def begin(what="events", to=TO_STREAM, per_second=1000):
        request = ReplayRequest(
            what=what, target=to, filter=ReplayFilter(until=NOON.replace(year=2030)), per_second=per_second
        )
        return jobs.add(request, actor="ann", matching=len(IDS), now=NOON)

    return begin


@pytest.fixture
def stored(pool):
    """Events that are stored before the test."""
    ingest([eventbridge(id_) for id_ in IDS], dedupe=NullDedupeCache(), store=PostgresStore(pool))


def replayed_ids(pool, job):
    """The ids of the events that a job has added to the stream, in order."""
    outbox = PostgresOutbox(pool)
    outbox.number()
    return [
        event.id for frame in outbox.frames(after=0, limit=1000) if frame.replay == job.id for event in frame.events
    ]


def refuse_delivery(_delivery):
    raise Rejected("is not known yet", field="detail-type")


def test_running_jobs_are_completed_within_one_call(replays, pool, jobs, start, monkeypatch):
    """One job replays stored events to the stream, the other one dead letters that are now readable."""
    with monkeypatch.context() as patched:
        patched.setitem(NORMALISERS, "eventbridge", refuse_delivery)
        ingest([eventbridge("late")], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    ingest([eventbridge(id_) for id_ in IDS], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    to_stream, dead_letters = start(), start(what="dead_letters", to=Target(kind="ingest"))

    assert replays.handler({}, Context(MAX_SECONDS)) == {"lock_acquired": True}

    assert [(jobs.get(job.id).state, jobs.get(job.id).sent) for job in (to_stream, dead_letters)] == [
        ("done", 12),
        ("done", 1),
    ]
    assert replayed_ids(pool, to_stream) == IDS
    events = PostgresReader(pool).events(EventFilter(), after=None, limit=100).items
    assert {event.id for event in events} == {*IDS, "late"}


def test_a_job_that_takes_longer_than_a_call_continues_in_the_next_one(replays, stored, pool, jobs, start):
    """Every event is sent once and in order, because a call ends after a batch, and not within one."""
    job = start(per_second=4)  # one event at a time, three seconds in total

    sent_counts = []
    while jobs.get(job.id).state == "running":
        replays.handler({}, Context(replays.RESERVE_SECONDS + 0.5))
        sent_counts.append(jobs.get(job.id).sent)

    assert len(sent_counts) > 1
    assert sent_counts == sorted(sent_counts)
    assert jobs.get(job.id).state == "done"
    assert replayed_ids(pool, job) == IDS


def test_a_call_is_long_enough_to_fail_a_job_with_an_unavailable_target(replays):
    """The next call restarts the count, so such a job would otherwise block all others without end."""
    outage_seconds = replay_worker.MAX_UNAVAILABLE * (replay_worker.LONGEST_PAUSE_SECONDS + guarded_http.SECONDS)
    assert outage_seconds < MAX_SECONDS - replays.RESERVE_SECONDS


def test_a_call_during_another_one_does_nothing(replays, stored, jobs, start):
    job = start()

    with jobs.turn() as is_turn:
        assert is_turn
        assert replays.handler({}, Context(MAX_SECONDS)) == {"lock_acquired": False}

    assert (jobs.get(job.id).state, jobs.get(job.id).sent) == ("running", 0)


def test_without_a_database_the_call_fails_and_a_later_one_completes_the_job(
    replays, stored, jobs, start, postgres_server
):
    job = start()
    postgres_server.stop()
    try:
        with pytest.raises(Retryable):
            replays.handler({}, Context(MAX_SECONDS))
    finally:
        postgres_server.start()

    assert replays.handler({}, Context(MAX_SECONDS)) == {"lock_acquired": True}
    assert jobs.get(job.id).state == "done"


def test_a_target_that_is_not_allowed_fails_the_job_with_the_setting(replays, stored, jobs, start):
    """A function calls an address in its network only if a setting names it."""
    job = start(to=Target(kind="webhook", url="https://169.254.169.254/"))

    replays.handler({}, Context(MAX_SECONDS))

    failed_job = jobs.get(job.id)
    assert failed_job.state == "failed"
    assert "HELIOS_REPLAY_HOSTS" in failed_job.last_error
