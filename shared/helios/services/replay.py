"""Starts replay jobs, and runs them: in order, no faster than requested, and with priority for live traffic."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from helios.errors import Rejected, Retryable, TargetUnavailable, TargetUnresolved
from helios.model.dead_letters import StoredDeadLetter
from helios.model.events import Event
from helios.model.replay import SENT, Checkpoint, Matching, Replayed, ReplayJob, ReplayRequest, check
from helios.model.stream import EventSummary, Frame
from helios.notify import notify_best_effort
from helios.ports.leases import Lease
from helios.ports.replay import ReplayJobs, ReplayTarget, Targets
from helios.ports.stream import Notifier
from helios.ports.unit_of_work import EventStore
from helios.services.dead_letters import DONE, AlreadyReplayed, replay_dead_letter
from helios.services.ingest import Ingest
from helios.sources.registry import CLOUDS, Sources

log = logging.getLogger("helios.replay")

ACTOR = "helios"
"""The actor in the audit log when a job ends without being cancelled."""

POLL_SECONDS = 5.0
"""How soon the worker finds a job that another process has started."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
"""The pauses while the target is unavailable double from the first to the longest, unless it asks for longer ones."""

MAX_UNAVAILABLE = 10
"""Consecutive failures to reach the target before the job fails: five to ten minutes, during which other jobs wait."""

MAX_UNRESOLVED = 3
"""Failed look-ups of the target's name before a job fails that has not reached the target yet: less than 20 seconds."""

MAX_LIVE_WAIT_SECONDS = 1.0
"""The longest time that a batch waits for live traffic to be stored."""

BATCHES_A_SECOND = 4
"""The number of batches into which one second of the rate is divided, unless the target takes smaller batches."""

MAX_FRAME_BYTES = 24_000
"""Maximum bytes of the events in one frame: the relay leaves out events that do not fit into its message."""


def bounded(request: ReplayRequest, now: datetime) -> ReplayRequest:
    """The same request, limited to what has arrived by now: the job does not include what arrives while it runs.

    Raises:
        Rejected: the parts of the request do not fit together.
    """
    check(request)
    until = min(request.filter.until or now, now)
    return msgspec.structs.replace(request, filter=msgspec.structs.replace(request.filter, until=until))


class ReplayStarter:
    """Starts replay jobs; a ``ReplayWorker`` then runs them."""

    def __init__(self, jobs: ReplayJobs, targets: Targets, *, on_start: Callable[[], None] = lambda: None) -> None:
        """Take the ports.

        Args:
            jobs: stores the jobs.
            targets: the targets outside of Helios to which jobs may send.
            on_start: called after a job has been stored.
        """
        self._jobs = jobs
        self._targets = targets
        self._on_start = on_start

    def __call__(self, request: ReplayRequest, *, actor: str, now: datetime) -> ReplayJob:
        """Start a job.

        Raises:
            Rejected: the parts of the request do not fit together, or its target is not allowed or not configured.
            Retryable: the job may not be stored.
        """
        request = self._checked(request, now)
        job = self._jobs.add(request, actor=actor, matching=self._matching(request).matching, now=now)
        self._on_start()
        return job

    def preview(self, request: ReplayRequest, now: datetime) -> Matching:
        """What a job would send. Raises the same errors as starting it."""
        return self._matching(self._checked(request, now))

    def _checked(self, request: ReplayRequest, now: datetime) -> ReplayRequest:
        request = bounded(request, now)
        if request.target.kind in {"webhook", "cloud"}:
            self._targets.open(request.target).close()
        return request

    def _matching(self, request: ReplayRequest) -> Matching:
        return self._jobs.matching(request.what, request.filter)


class Sender(Protocol):
    """Reads the items of a job, and sends them to its target."""

    batch: int

    def read(self, job: ReplayJob, limit: int) -> Sequence[tuple[Checkpoint, Any]]:
        """The next items of the job, each with its checkpoint."""

    def send(self, job: ReplayJob, items: Sequence[Any]) -> Iterator[Replayed]:
        """Send items; see ``ReplayTarget.send``."""

    def close(self) -> None:
        """Close its connections."""


class Batch(NamedTuple):
    """What became of one batch.

    Attributes:
        job: the job after the batch; None: the job has ended.
        processed: the number of items that were sent, failed or skipped.
        unavailable: why the other items were not sent.
    """

    job: ReplayJob | None
    processed: int = 0
    unavailable: TargetUnavailable | None = None


class ReplayWorker:
    """Runs the jobs. Of several workers, one runs jobs at a time."""

    def __init__(
        self,
        jobs: ReplayJobs,
        targets: Targets,
        *,
        store: EventStore,
        ingest: Ingest,
        notifier: Notifier,
        is_busy: Callable[[], bool] = lambda: False,
        sources: Sources = CLOUDS,
    ) -> None:
        """Take the ports.

        Args:
            jobs: stores the jobs.
            targets: the targets outside of Helios.
            store: stores the frames of replays to connected clients.
            ingest: ingests dead letters.
            notifier: notified of those frames.
            is_busy: whether live traffic waits in this process.
            sources: the sources of dead letters.
        """
        self._sources = sources
        self._jobs = jobs
        self._targets = targets
        self._store = store
        self._ingest = ingest
        self._notifier = notifier
        self._is_busy = is_busy
        self._stopping = threading.Event()
        self._wake = threading.Event()

    def run(self, *, patience_seconds: float = 0) -> bool:
        """Run all jobs that have not ended, the oldest first; False if another process is running them.

        Args:
            patience_seconds: how long to wait for another process.

        Raises:
            Retryable: the store can't be reached. The checkpoint of the job is stored.
        """
        with self._jobs.turn(patience_seconds=patience_seconds) as lease:
            while lease and self._may_continue(lease) and (job := self._jobs.first_running()):
                self._work(job, lease)
        return lease is not None

    def run_forever(self) -> None:
        """Run all jobs, and those that are started later, until ``stop``."""
        while not self._stopping.is_set():
            try:
                if self._jobs.first_running():
                    self.run()
            except Retryable as error:
                log.warning("replay jobs: retrying later", extra={"error": str(error)})
            except Exception:  # a bug must not end the replays while the process keeps serving requests
                log.exception("replay jobs: retrying later")
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    def wake(self) -> None:
        """Look for a new job now."""
        self._wake.set()

    def stop(self) -> None:
        """End after the current batch."""
        self._stopping.set()
        self._wake.set()

    def _may_continue(self, lease: Lease) -> bool:
        return lease.is_held and not self._stopping.is_set()

    def _work(self, job: ReplayJob, lease: Lease) -> None:
        """Run a job until the job ends, this process stops, or another process may have the lease."""
        try:
            sender = self._sender(job)
        except Rejected as fault:
            self._end(job, "failed", f"{fault.field} {fault.reason}")
            return
        started, initial_job = time.monotonic(), job
        failures = 0
        next_job: ReplayJob | None = job
        try:
            while next_job and self._may_continue(lease):
                job = next_job
                self._wait_for_live_traffic()
                batch_started = time.monotonic()
                next_job, processed, unavailable = self._batch(job, sender)
                failures = 0 if processed else failures + 1
                if next_job and unavailable and failures >= _max_failures(next_job, unavailable):
                    self._end(next_job, "failed", str(unavailable))
                    return
                elapsed = time.monotonic() - batch_started
                self._pause(job, processed / job.per_second - elapsed, unavailable, failures)
        except Retryable:
            raise
        except Exception as error:  # a bug must not block the jobs that follow
            log.exception("replay job failed", extra={"job": job.id})
            self._end(job, "failed", f"{type(error).__name__}: {error}")
        finally:
            sender.close()
            self._log(job, initial_job, started)

    def _batch(self, job: ReplayJob, sender: Sender) -> Batch:
        """Send the next items, and store the checkpoint."""
        items = sender.read(job, min(sender.batch, max(1, job.per_second // BATCHES_A_SECOND)))
        if not items:
            self._end(job, "done")
            return Batch(None)
        results: list[Replayed] = []
        unavailable: TargetUnavailable | None = None
        try:
            for result in sender.send(job, [item for _, item in items]):
                results.append(result)  # noqa: PERF402 - results before an exception count
        except TargetUnavailable as error:
            unavailable = error
        except Rejected as fault:
            self._end(job, "failed", f"{fault.field} {fault.reason}")
            return Batch(None)
        moved = _moved(job, items[len(results) - 1][0] if results else job.checkpoint, results, unavailable)
        if not self._jobs.advance(moved, was=job.checkpoint):
            return Batch(None)  # the job was cancelled or advanced by another worker: the next run reads it again
        return Batch(moved, len(results), unavailable)

    def _pause(self, job: ReplayJob, seconds: float, unavailable: TargetUnavailable | None, failures: int) -> None:
        """Wait to keep the rate, or for an unavailable target. The wait ends when the job is cancelled."""
        if unavailable:
            backoff = FIRST_PAUSE_SECONDS * 2 ** max(0, failures - 1)
            seconds = min(max(backoff, unavailable.after_seconds or 0), LONGEST_PAUSE_SECONDS)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stopping.wait(min(left, 1.0)):
            if seconds > 1 and not self._is_running(job):
                return

    def _is_running(self, job: ReplayJob) -> bool:
        stored_job = self._jobs.get(job.id)
        return stored_job is not None and stored_job.state == "running"

    def _wait_for_live_traffic(self) -> None:
        until = time.monotonic() + MAX_LIVE_WAIT_SECONDS
        while self._is_busy() and time.monotonic() < until:
            self._stopping.wait(0.01)

    def _sender(self, job: ReplayJob) -> Sender:
        if job.what == "dead_letters":
            return _DeadLetters(self._jobs, self._ingest, self._sources)
        if job.target.kind == "relay":
            return _Events(self._jobs, _Clients(self._store, self._notifier))
        return _Events(self._jobs, self._targets.open(job.target))

    def _end(self, job: ReplayJob, state: Literal["done", "failed"], error: str | None = None) -> None:
        self._jobs.end(job.id, state, actor=ACTOR, now=datetime.now(UTC), error=error)

    def _log(self, job: ReplayJob, initial_job: ReplayJob, started: float) -> None:
        """Log one line about what this run of the job did."""
        stored_job = self._jobs.get(job.id) or job
        log.info(
            "replayed",
            extra={
                "job": job.id,
                "what": job.what,
                "target": job.target.kind,
                "state": stored_job.state,
                "sent": stored_job.sent - initial_job.sent,
                "failed": stored_job.failed - initial_job.failed,
                "skipped": stored_job.skipped - initial_job.skipped,
                "error": stored_job.last_error,
                "duration_ms": round((time.monotonic() - started) * 1000),
            },
        )


def _max_failures(job: ReplayJob, unavailable: TargetUnavailable) -> int:
    """The number of consecutive failures to reach the target at which the job fails.

    A name that this job has never resolved is probably wrong: the jobs that follow do not wait for it.
    """
    never_reached = isinstance(unavailable, TargetUnresolved) and job.checkpoint is None
    return MAX_UNRESOLVED if never_reached else MAX_UNAVAILABLE


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
    """Sends stored events to a target."""

    def __init__(self, jobs: ReplayJobs, target: ReplayTarget) -> None:
        self.batch = target.batch
        self._jobs = jobs
        self._target = target

    def read(self, job: ReplayJob, limit: int) -> list[tuple[Checkpoint, Event]]:
        events = self._jobs.events(job.filter, after=job.checkpoint, limit=limit)
        return [(_checkpoint(event), event) for event in events]

    def send(self, job: ReplayJob, items: Sequence[Event]) -> Iterator[Replayed]:
        return self._target.send(job, items)

    def close(self) -> None:
        self._target.close()


def _checkpoint(event: Event) -> Checkpoint:
    return Checkpoint(received_at=event.received_at, source=event.source, id=event.id, producer=event.producer)


class _DeadLetters:
    """Sends dead letters to ingest."""

    batch = 10

    def __init__(self, jobs: ReplayJobs, ingest: Ingest, sources: Sources) -> None:
        self._jobs = jobs
        self._ingest = ingest
        self._sources = sources

    def read(self, job: ReplayJob, limit: int) -> list[tuple[Checkpoint, StoredDeadLetter]]:
        dead_letters = self._jobs.dead_letters(job.filter, after=job.checkpoint, limit=limit)
        return [
            (
                Checkpoint(received_at=stored.first_received_at, source=stored.dead_letter.source, id=str(stored.id)),
                stored,
            )
            for stored in dead_letters
        ]

    def send(self, job: ReplayJob, items: Sequence[StoredDeadLetter]) -> Iterator[Replayed]:
        for stored in items:
            yield self._replay(job, stored)

    def close(self) -> None:
        """There is no connection to close."""

    def _replay(self, job: ReplayJob, stored: StoredDeadLetter) -> Replayed:
        now = datetime.now(UTC)
        try:
            outcomes = replay_dead_letter(
                stored,
                None,
                ingest=self._ingest,
                actor=job.actor,
                now=now,
                sources=self._sources,
                note=f" (replay job {job.id})",
            )
        except Rejected as fault:
            return Replayed("failed", f"{stored.subject}: {fault.field} {fault.reason}")
        except AlreadyReplayed as error:
            return Replayed("skipped", str(error))
        refused = next((outcome for outcome in outcomes if outcome.status not in DONE), None)
        return Replayed("failed", f"{stored.subject}: {refused.field} {refused.reason}") if refused else SENT


class _Clients:
    """The connected clients: they get the events in frames without counts."""

    batch = 50

    def __init__(self, store: EventStore, notifier: Notifier) -> None:
        self._store = store
        self._notifier = notifier

    def send(self, job: ReplayJob, events: Sequence[Event]) -> Iterator[Replayed]:
        with self._store.transaction() as work:
            for summaries in _framed(events):
                work.stream.publish(Frame(counts=[], events=summaries, replay=job.id), [])
        notify_best_effort(self._notifier)
        yield from [SENT] * len(events)

    def close(self) -> None:
        """There is no connection to close."""


def _framed(events: Sequence[Event]) -> Iterator[list[EventSummary]]:
    """The event summaries of each frame, in as few frames as hold all of them."""
    summaries: list[EventSummary] = []
    size = 0
    for event in events:
        summary = msgspec.convert(event, EventSummary, from_attributes=True)
        length = len(msgspec.json.encode(summary))
        if summaries and size + length > MAX_FRAME_BYTES:
            yield summaries
            summaries, size = [], 0
        summaries.append(summary)
        size += length
    if summaries:
        yield summaries
