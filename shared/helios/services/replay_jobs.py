"""Checks and starts replay jobs."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from helios.model.replay import Matching, ReplayJob, ReplayRequest, check
from helios.ports.replay import ReplayJobs, Targets


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
