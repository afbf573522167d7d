"""A replay job whose target's name can't be resolved does not hold up the jobs that follow."""

import socket
import threading
from datetime import timedelta
from functools import partial

import pytest

from helios.adapters import guarded_http
from helios.adapters.guarded_http import hosts_of
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.replay.webhook import WebhookTarget
from helios.errors import TargetUnresolved
from helios.model.replay import SENT, ReplayJob, ReplayRequest, Target
from helios.services import replay as replay_worker
from helios.services.ingest import ingest
from helios.services.replay import ReplayWorker
from tests.fakes.replay import MemoryReplayJobs
from tests.fakes.store import MemoryOutbox, MemoryStore
from tests.support.deliveries import NOON, eventbridge

URL = "https://missing.example/"
LATER = NOON + timedelta(hours=1)


class Unresolved:
    """A target whose name has an address only for the first calls, each of which sends one event."""

    batch = 1

    def __init__(self, *, reached: int = 0) -> None:
        self.reached = reached
        self.look_ups = 0

    def open(self, _):
        return self

    def send(self, _job, events):
        self.look_ups += 1
        if self.look_ups > self.reached:
            raise TargetUnresolved("missing.example can't be resolved")
        for _ in events:
            yield SENT

    def close(self):
        """There is no connection to close."""


def run(target: Unresolved) -> list[ReplayJob]:
    """The results of a job to this target, and of a job to the connected clients after it."""
    store = MemoryStore()
    take_in = partial(ingest, dedupe=NullDedupeCache(), store=store)
    take_in([eventbridge(f"e{number}", received_at=NOON) for number in range(3)])
    jobs = MemoryReplayJobs(store)
    for aim in (Target(kind="webhook", url=URL), Target(kind="relay")):
        request = ReplayRequest(what="events", target=aim, per_second=10_000)
        jobs.add(request, actor="ann", matching=3, now=LATER)
    ReplayWorker(jobs, target, store=store, ingest=take_in, notifier=MemoryOutbox(store)).run()
    return sorted(jobs.page(after=None, limit=10).items, key=lambda job: job.id)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(replay_worker, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(replay_worker, "LONGEST_PAUSE_SECONDS", 0.001)


def test_a_name_that_was_never_resolved_fails_the_job_soon_and_the_next_job_runs():
    target = Unresolved()
    job, following = run(target)

    assert target.look_ups == replay_worker.MAX_UNRESOLVED
    assert (job.state, job.last_error) == ("failed", "missing.example can't be resolved")
    assert following.state == "done"


def test_the_next_job_waits_less_than_twenty_seconds():
    """Each look-up has a limit, and the pauses between them double."""
    pauses = sum(2**number for number in range(replay_worker.MAX_UNRESOLVED - 1))

    assert replay_worker.MAX_UNRESOLVED * guarded_http.RESOLVE_SECONDS + pauses < 20


def test_a_job_that_has_reached_its_target_survives_a_longer_failure_of_the_name_server():
    target = Unresolved(reached=1)
    job, _ = run(target)

    assert target.look_ups == 1 + replay_worker.MAX_UNAVAILABLE
    assert job.state == "failed"


def refuse(*_args, **_options):
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def send_to_missing_host() -> None:
    target = WebhookTarget(URL, hosts=hosts_of("missing.example"), keys=[b"k" * 32], loopback=False)
    job, _ = run(Unresolved())
    list(target.send(job, []))


def test_a_name_that_does_not_exist_is_reported_as_unresolved(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    with pytest.raises(TargetUnresolved, match=r"missing\.example can't be resolved: .*not known"):
        send_to_missing_host()


def test_a_silent_name_server_holds_a_look_up_no_longer_than_its_limit(monkeypatch):
    """The resolver of the operating system waits for as long as its own configuration says."""
    ended = threading.Event()

    def hang(*_args, **_options):
        ended.wait()
        return refuse()

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(guarded_http, "RESOLVE_SECONDS", 0.01)
    try:
        with pytest.raises(TargetUnresolved, match=r"missing\.example can't be resolved within 0\.01 s"):
            send_to_missing_host()
    finally:
        ended.set()
