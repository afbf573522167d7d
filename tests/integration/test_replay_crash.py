"""kill -9 of the worker of a replay job: the job continues from its checkpoint, and every event arrives, in order."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.replay import PostgresReplayJobs
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.model.replay import Checkpoint, ReplayFilter, ReplayJob, ReplayRequest, Target
from helios.processes.process import scrubbed_environment
from helios.services.ingest import ingest
from tests.support.api import ROOT
from tests.support.deliveries import NOON, eventbridge
from tests.support.receiver import Receiver, receiving
from tests.support.waiting import eventually

COUNT = 160
IDS = [f"{number:03}" for number in range(COUNT)]
SECRET = "whsec_b25seSBmb3IgdGhpcyB0ZXN0LCBsb25n"  # pragma: allowlist secret


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def jobs(pool, database_url) -> PostgresReplayJobs:
    ingest([eventbridge(id_) for id_ in IDS], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    return PostgresReplayJobs(pool)


@pytest.fixture
def job(jobs, receiver) -> ReplayJob:
    request = ReplayRequest(
        what="events",
        target=Target(kind="webhook", url=receiver.url),
        filter=ReplayFilter(until=NOON.replace(year=2030)),
        per_second=40,
    )
    return jobs.add(request, actor="ann", matching=COUNT, now=NOON)


@pytest.fixture
def worker(database_url):
    """Begin ``helios replay run`` in a process of its own."""
    command = [sys.executable, "-m", "helios", "replay", "run"]
    environment = scrubbed_environment(
        HELIOS_DATABASE_URL=database_url,
        HELIOS_TRUST_LOOPBACK="true",
        HELIOS_REPLAY_HOSTS="127.0.0.1:*",
        HELIOS_REPLAY_SECRET=SECRET,
    )
    running: list[subprocess.Popen[bytes]] = []

    def begin() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.wait()
        assert process.stderr
        process.stderr.close()


def wait_until_arrived(receiver: Receiver, least: int) -> None:
    """Return once at least ``least`` events have arrived."""
    eventually(lambda: len(receiver.requests) >= least, seconds=40)


def test_a_job_whose_worker_is_killed_three_times_sends_every_event(worker, job, jobs, receiver):
    checkpoints: list[Checkpoint] = []
    for stop_at in (7, 20, 41):
        process = worker()
        wait_until_arrived(receiver, stop_at)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        if (checkpoint := jobs.get(job.id).checkpoint) is not None:
            checkpoints.append(checkpoint)

    last = worker()
    assert last.wait(60) == 0

    arrived = receiver.ids
    assert sorted(set(arrived)) == IDS
    firsts = [id_ for number, id_ in enumerate(arrived) if id_ not in arrived[:number]]
    assert firsts == IDS  # in order, although some are sent twice
    assert checkpoints == sorted(checkpoints)
    ended = jobs.get(job.id)
    assert (ended.state, ended.sent, ended.failed) == ("done", COUNT, 0)
    assert ended.checkpoint.id == IDS[-1]


def test_another_worker_continues_the_job_of_one_that_hangs(worker, job, jobs, receiver):
    """A worker that hangs loses its lease, and leaves the job alone when it runs again."""
    first = worker()
    wait_until_arrived(receiver, 5)
    os.kill(first.pid, signal.SIGSTOP)
    sent = jobs.get(job.id).sent
    second = worker()
    eventually(lambda: jobs.get(job.id).sent > sent + 15, seconds=60)
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 0
    stopped = jobs.get(job.id)
    assert stopped.state == "running"

    os.kill(first.pid, signal.SIGCONT)
    assert first.wait(60) == 0
    assert jobs.get(job.id) == stopped

    assert worker().wait(60) == 0
    assert jobs.get(job.id).state == "done"
    assert sorted(set(receiver.ids)) == IDS


def test_a_second_worker_does_nothing_while_the_first_one_works(worker, job, jobs, receiver):
    first = worker()
    wait_until_arrived(receiver, 5)
    second = worker()
    assert first.wait(60) == 0
    assert second.wait(60) == 0

    assert jobs.get(job.id).state == "done"
    assert receiver.ids == IDS
