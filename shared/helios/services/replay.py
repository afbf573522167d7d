"""Works through replay jobs: in order, batch by batch, no faster than asked, and after live traffic."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from helios.errors import Rejected, Retryable, TargetUnavailable
from helios.model.dead_letters import StoredDeadLetter
from helios.model.events import Event
from helios.model.replay import SENT, Checkpoint, Replayed, ReplayJob
from helios.model.stream import EventSummary, Frame
from helios.notify import notify_best_effort
from helios.ports.replay import ReplayJobs, ReplayTarget, Targets
from helios.ports.stream import Notifier
from helios.ports.unit_of_work import EventStore
from helios.services.dead_letters import DONE, AlreadyReplayed, replay_dead_letter
from helios.services.ingest import Ingest

log = logging.getLogger("helios.replays")

ACTOR = "helios"
"""Who ends a job that nobody has cancelled."""

POLL_SECONDS = 5.0
"""How soon a job is found that another process was asked for."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
"""Pauses while the target is away, each twice the one before, or as long as it asks for."""

MAX_UNAVAILABLE = 10
"""How often in a row the target may be away before the job has failed: five to ten minutes, in which others wait."""

GIVE_WAY_SECONDS = 1.0
"""How long a batch waits at most for live traffic that is being stored."""

BATCHES_A_SECOND = 4
"""A rate is kept in as many steps, unless the target takes less at once."""

MAX_FRAME_BYTES = 24_000
"""Of the events in one frame: what does not fit into a message of the relay would be left out there."""


class Sender(Protocol):
    """What a job sends, and where."""

    batch: int

    def read(self, job: ReplayJob, limit: int) -> Sequence[tuple[Checkpoint, Any]]:
        """What follows in the job, each with its place."""

    def send(self, job: ReplayJob, items: Sequence[Any]) -> Iterator[Replayed]:
        """As ``ReplayTarget`` has it."""

    def close(self) -> None:
        """Let go of its connections."""


class Batch(NamedTuple):
    """What became of one batch.

    Attributes:
        job: as it stands now; None: it has ended, by this or otherwise.
        dealt_with: how many were sent, failed or skipped.
        unavailable: why the others were not.
    """

    job: ReplayJob | None
    dealt_with: int = 0
    unavailable: TargetUnavailable | None = None


class ReplayWorker:
    """Works through the jobs; of several workers one does at a time."""

    def __init__(
        self,
        jobs: ReplayJobs,
        targets: Targets,
        *,
        store: EventStore,
        ingest: Ingest,
        notifier: Notifier,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take what it works with.

        Args:
            jobs: what is to be done.
            targets: where to, outside of Helios.
            store: takes the frames of those who watch.
            ingest: takes dead letters in.
            notifier: rung for those frames.
            is_busy: whether live traffic waits in this process.
        """
        self._jobs = jobs
        self._targets = targets
        self._store = store
        self._ingest = ingest
        self._notifier = notifier
        self._is_busy = is_busy
        self._stopping = threading.Event()
        self._wake = threading.Event()

    def run(self) -> bool:
        """Work through all jobs that run, the oldest first; False if another process is at it.

        Raises:
            Retryable: the store is away; where a job stands is kept.
        """
        with self._jobs.turn() as mine:
            while mine and not self._stopping.is_set() and (job := self._jobs.first_running()):
                self._work(job)
        return mine

    def run_forever(self) -> None:
        """The same, also for the jobs that come, until ``stop``."""
        while not self._stopping.is_set():
            try:
                if self._jobs.first_running():
                    self.run()
            except Retryable as error:
                log.warning("replays put off", extra={"error": str(error)})
            except Exception:  # a defect must not end the replays of a process that goes on to serve
                log.exception("replays put off")
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    def wake(self) -> None:
        """There is a new job."""
        self._wake.set()

    def stop(self) -> None:
        """End after the batch that is under way."""
        self._stopping.set()
        self._wake.set()

    def _work(self, job: ReplayJob) -> None:
        """Until the job has ended, or this process is to."""
        try:
            sender = self._sender(job)
        except Rejected as fault:
            self._end(job, "failed", f"{fault.field} {fault.reason}")
            return
        started, at_first = time.monotonic(), job
        unavailable = 0
        last: ReplayJob | None = job
        try:
            while last and not self._stopping.is_set():
                job = last
                self._give_way()
                began = time.monotonic()
                last, dealt_with, trouble = self._batch(job, sender)
                unavailable = 0 if dealt_with else unavailable + 1
                if last and trouble and unavailable == MAX_UNAVAILABLE:
                    self._end(last, "failed", str(trouble))
                    return
                self._pause(job, dealt_with / job.per_second - (time.monotonic() - began), trouble, unavailable)
        except Retryable:
            raise
        except Exception as error:  # a defect must not hold up the jobs that follow
            log.exception("a replay job failed", extra={"job": job.id})
            self._end(job, "failed", f"{type(error).__name__}: {error}")
        finally:
            sender.close()
            self._log(job, at_first, started)

    def _batch(self, job: ReplayJob, sender: Sender) -> Batch:
        """Send what follows, and keep where the job stands then."""
        items = sender.read(job, min(sender.batch, max(1, job.per_second // BATCHES_A_SECOND)))
        if not items:
            self._end(job, "done")
            return Batch(None)
        results: list[Replayed] = []
        unavailable: TargetUnavailable | None = None
        try:
            for result in sender.send(job, [item for _, item in items]):
                results.append(result)  # noqa: PERF402 - what was sent before it raised counts
        except TargetUnavailable as error:
            unavailable = error
        except Rejected as fault:
            self._end(job, "failed", f"{fault.field} {fault.reason}")
            return Batch(None)
        moved = _moved(job, items[len(results) - 1][0] if results else job.checkpoint, results, unavailable)
        if not self._jobs.advance(moved, was=job.checkpoint):
            return Batch(None)  # cancelled, or another worker has moved it: whoever comes next reads it anew
        return Batch(moved, len(results), unavailable)

    def _pause(self, job: ReplayJob, seconds: float, trouble: TargetUnavailable | None, unavailable: int) -> None:
        """Keep to the rate, or wait for the target; a job that is cancelled meanwhile ends the wait."""
        if trouble:
            backoff = FIRST_PAUSE_SECONDS * 2 ** max(0, unavailable - 1)
            seconds = min(max(backoff, trouble.after_seconds or 0), LONGEST_PAUSE_SECONDS)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stopping.wait(min(left, 1.0)):
            if seconds > 1 and not self._runs(job):
                return

    def _runs(self, job: ReplayJob) -> bool:
        known = self._jobs.get(job.id)
        return known is not None and known.state == "running"

    def _give_way(self) -> None:
        until = time.monotonic() + GIVE_WAY_SECONDS
        while self._is_busy() and time.monotonic() < until:
            self._stopping.wait(0.01)

    def _sender(self, job: ReplayJob) -> Sender:
        if job.what == "dead_letters":
            return _DeadLetters(self._jobs, self._ingest)
        if job.target.kind == "relay":
            return _Events(self._jobs, _Watchers(self._store, self._notifier))
        return _Events(self._jobs, self._targets.open(job.target))

    def _end(self, job: ReplayJob, state: Literal["done", "failed"], error: str | None = None) -> None:
        self._jobs.end(job.id, state, actor=ACTOR, now=datetime.now(UTC), error=error)

    def _log(self, job: ReplayJob, at_first: ReplayJob, started: float) -> None:
        """The one wide line of a job, or of a stretch of it."""
        ended = self._jobs.get(job.id) or job
        log.info(
            "replayed",
            extra={
                "job": job.id,
                "what": job.what,
                "target": job.target.kind,
                "state": ended.state,
                "sent": ended.sent - at_first.sent,
                "failed": ended.failed - at_first.failed,
                "skipped": ended.skipped - at_first.skipped,
                "error": ended.last_error,
                "duration_ms": round((time.monotonic() - started) * 1000),
            },
        )


def _moved(
    job: ReplayJob, checkpoint: Checkpoint | None, results: Sequence[Replayed], unavailable: TargetUnavailable | None
) -> ReplayJob:
    states = [result.state for result in results]
    reasons = [result.reason for result in results if result.state == "failed"]
    return msgspec.structs.replace(
        job,
        checkpoint=checkpoint,
        sent=job.sent + states.count("sent"),
        failed=job.failed + states.count("failed"),
        skipped=job.skipped + states.count("skipped"),
        last_error=str(unavailable) if unavailable else reasons[-1] if reasons else job.last_error,
    )


class _Events:
    """Stored events, to a target that takes them."""

    def __init__(self, jobs: ReplayJobs, target: ReplayTarget) -> None:
        self.batch = target.batch
        self._jobs = jobs
        self._target = target

    def read(self, job: ReplayJob, limit: int) -> list[tuple[Checkpoint, Event]]:
        events = self._jobs.events(job.filter, after=job.checkpoint, limit=limit)
        return [(Checkpoint(received_at=one.received_at, source=one.source, id=one.id), one) for one in events]

    def send(self, job: ReplayJob, items: Sequence[Event]) -> Iterator[Replayed]:
        return self._target.send(job, items)

    def close(self) -> None:
        self._target.close()


class _DeadLetters:
    """Dead letters, to ingest."""

    batch = 10

    def __init__(self, jobs: ReplayJobs, ingest: Ingest) -> None:
        self._jobs = jobs
        self._ingest = ingest

    def read(self, job: ReplayJob, limit: int) -> list[tuple[Checkpoint, StoredDeadLetter]]:
        dead_letters = self._jobs.dead_letters(job.filter, after=job.checkpoint, limit=limit)
        return [
            (Checkpoint(received_at=one.first_received_at, source=one.dead_letter.source, id=str(one.id)), one)
            for one in dead_letters
        ]

    def send(self, job: ReplayJob, items: Sequence[StoredDeadLetter]) -> Iterator[Replayed]:
        for kept in items:
            yield self._take_in(job, kept)

    def close(self) -> None:
        """Has nothing to let go of."""

    def _take_in(self, job: ReplayJob, kept: StoredDeadLetter) -> Replayed:
        now = datetime.now(UTC)
        try:
            outcomes = replay_dead_letter(
                kept, None, ingest=self._ingest, actor=job.actor, now=now, note=f" (replay job {job.id})"
            )
        except Rejected as fault:
            return Replayed("failed", f"{kept.subject}: {fault.field} {fault.reason}")
        except AlreadyReplayed as error:
            return Replayed("skipped", str(error))
        refused = next((outcome for outcome in outcomes if outcome.status not in DONE), None)
        return Replayed("failed", f"{kept.subject}: {refused.field} {refused.reason}") if refused else SENT


class _Watchers:
    """Whoever watches: the events as frames that count nothing."""

    batch = 50

    def __init__(self, store: EventStore, notifier: Notifier) -> None:
        self._store = store
        self._notifier = notifier

    def send(self, job: ReplayJob, events: Sequence[Event]) -> Iterator[Replayed]:
        with self._store.transaction() as work:
            for shown in _framed(events):
                work.stream.publish(Frame(counts=[], events=shown, replay=job.id), [])
        notify_best_effort(self._notifier)
        yield from [SENT] * len(events)

    def close(self) -> None:
        """Has nothing to let go of."""


def _framed(events: Sequence[Event]) -> Iterator[list[EventSummary]]:
    """The events as the lines of as few frames as hold them all."""
    gathered: list[EventSummary] = []
    size = 0
    for event in events:
        line = msgspec.convert(event, EventSummary, from_attributes=True)
        length = len(msgspec.json.encode(line))
        if gathered and size + length > MAX_FRAME_BYTES:
            yield gathered
            gathered, size = [], 0
        gathered.append(line)
        size += length
    if gathered:
        yield gathered
