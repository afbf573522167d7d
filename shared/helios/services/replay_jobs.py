"""Replay jobs: what may be begun."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from helios.model.replay import Matching, ReplayJob, ReplayRequest, check
from helios.ports.replay import ReplayJobs, Targets


def bounded(request: ReplayRequest, now: datetime) -> ReplayRequest:
    """The same job for what has arrived by now: what comes while it runs is no part of it.

    Raises:
        Rejected: its parts do not fit together.
    """
    check(request)
    until = min(request.filter.until or now, now)
    return msgspec.structs.replace(request, filter=msgspec.structs.replace(request.filter, until=until))


class ReplayStarter:
    """Begins jobs, which a worker then works through."""

    def __init__(self, jobs: ReplayJobs, targets: Targets, *, begun: Callable[[], None] = lambda: None) -> None:
        """Take where they are kept, where they may send, and who is told of a new one."""
        self._jobs = jobs
        self._targets = targets
        self._begun = begun

    def __call__(self, request: ReplayRequest, *, actor: str, now: datetime) -> ReplayJob:
        """Begin one.

        Raises:
            Rejected: its parts do not fit together, or its target is not allowed or not set up here.
            Retryable: it may not be kept.
        """
        request = self._checked(request, now)
        job = self._jobs.add(request, actor=actor, matching=self._matching(request).matching, now=now)
        self._begun()
        return job

    def would(self, request: ReplayRequest, now: datetime) -> Matching:
        """What it would send; the same errors."""
        return self._matching(self._checked(request, now))

    def _checked(self, request: ReplayRequest, now: datetime) -> ReplayRequest:
        request = bounded(request, now)
        if request.target.kind in {"webhook", "cloud"}:
            self._targets.open(request.target).close()
        return request

    def _matching(self, request: ReplayRequest) -> Matching:
        return self._jobs.matching(request.what, request.filter)
