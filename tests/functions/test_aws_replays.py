"""The Lambda that works on replay jobs, given what its schedule gives it."""

import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.replay import PostgresReplayJobs
from helios.adapters.postgres.stream import PostgresOutbox
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.adapters.replay import webhook
from helios.errors import Rejected, Retryable
from helios.model.events import EventFilter
from helios.model.replay import ReplayFilter, ReplayRequest, Target
from helios.normalise import NORMALISERS
from helios.services import replay as replay_worker
from helios.services.ingest import ingest
from tests.support.aws_lambda import Context
from tests.support.deliveries import NOON, eventbridge

IDS = [f"{number:03}" for number in range(12)]
WATCHERS = Target(kind="relay")
MOST_SECONDS = 900
"""What Lambda gives to a call at most, and Terraform to this function."""


@pytest.fixture
def replays(load_handler):
    """The function after a cold start."""
    return load_handler("aws/replays/handler")


@pytest.fixture
def jobs(pool, database_url):
    return PostgresReplayJobs(pool, database_url)


@pytest.fixture
def start(jobs):
    """Keep a job, as the API does."""

    def begin(what="events", to=WATCHERS, per_second=1000):
        request = ReplayRequest(
            what=what, target=to, filter=ReplayFilter(until=NOON.replace(year=2030)), per_second=per_second
        )
        return jobs.add(request, actor="ann", matching=len(IDS), now=NOON)

    return begin


@pytest.fixture
def stored(pool):
    """Events that were stored before."""
    ingest([eventbridge(id_) for id_ in IDS], dedupe=NullDedupeCache(), store=PostgresStore(pool))


def shown(pool, job):
    """The ids of the events that a job has shown to those who watch, in order."""
    outbox = PostgresOutbox(pool)
    outbox.number()
    return [event.id for one in outbox.frames(after=0, limit=1000) if one.replay == job.id for event in one.events]


def refusing(_delivery):
    raise Rejected("is not known yet", field="detail-type")


def test_the_jobs_that_run_are_done_within_one_call(replays, pool, jobs, start, monkeypatch):
    """Stored events to those who watch, and dead letters that Helios can read by now."""
    with monkeypatch.context() as older:
        older.setitem(NORMALISERS, "eventbridge", refusing)
        ingest([eventbridge("late")], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    ingest([eventbridge(id_) for id_ in IDS], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    watched, dead_letters = start(), start(what="dead_letters", to=Target(kind="ingest"))

    assert replays.handler({}, Context(MOST_SECONDS)) == {"lock_acquired": True}

    assert [(jobs.get(job.id).state, jobs.get(job.id).sent) for job in (watched, dead_letters)] == [
        ("done", 12),
        ("done", 1),
    ]
    assert shown(pool, watched) == IDS
    events = PostgresReader(pool).events(EventFilter(), after=None, limit=100).items
    assert {event.id for event in events} == {*IDS, "late"}


def test_a_job_that_takes_longer_than_a_call_goes_on_with_the_next_one(replays, stored, pool, jobs, start):
    """Every event comes once, and in order: a call ends after a batch, and not within one."""
    job = start(per_second=4)  # so one at a time, and three seconds in all

    stood_at = []
    while jobs.get(job.id).state == "running":
        replays.handler({}, Context(replays.RESERVE_SECONDS + 0.5))
        stood_at.append(jobs.get(job.id).sent)

    assert len(stood_at) > 1
    assert stood_at == sorted(stood_at)
    assert jobs.get(job.id).state == "done"
    assert shown(pool, job) == IDS


def test_a_call_is_long_enough_to_give_up_on_a_target_that_is_away(replays):
    """The next one counts anew, so a job would stand before all others for ever."""
    away = replay_worker.MAX_UNAVAILABLE * (replay_worker.LONGEST_PAUSE_SECONDS + webhook.SECONDS)
    assert away < MOST_SECONDS - replays.RESERVE_SECONDS


def test_a_call_while_another_is_at_work_leaves_the_job_to_it(replays, stored, jobs, start):
    job = start()

    with jobs.turn() as mine:
        assert mine
        assert replays.handler({}, Context(MOST_SECONDS)) == {"lock_acquired": False}

    assert (jobs.get(job.id).state, jobs.get(job.id).sent) == ("running", 0)


def test_without_a_database_the_call_fails_and_a_later_one_makes_it_good(replays, stored, jobs, start, postgres_server):
    job = start()
    postgres_server.stop()
    try:
        with pytest.raises(Retryable):
            replays.handler({}, Context(MOST_SECONDS))
    finally:
        postgres_server.start()

    assert replays.handler({}, Context(MOST_SECONDS)) == {"lock_acquired": True}
    assert jobs.get(job.id).state == "done"


def test_a_place_that_is_not_allowed_ends_the_job_and_says_so(replays, stored, jobs, start):
    """Nobody may make a function call an address in its network unless a setting names it."""
    job = start(to=Target(kind="webhook", url="https://169.254.169.254/"))

    replays.handler({}, Context(MOST_SECONDS))

    ended = jobs.get(job.id)
    assert ended.state == "failed"
    assert "HELIOS_REPLAY_HOSTS" in ended.last_error
