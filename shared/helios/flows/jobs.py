"""Replay jobs: begun, and worked through in order, batch by batch."""

from datetime import datetime

import msgspec

from helios.jobs import Matching, ReplayJob, ReplayRequest, check
from helios.ports import ReplayJobs


def bounded(request: ReplayRequest, now: datetime) -> ReplayRequest:
    """The same job for what has arrived by now: what comes while it runs is no part of it.

    Raises:
        Rejected: its parts do not fit together.
    """
    check(request)
    until = min(request.filter.until or now, now)
    return msgspec.structs.replace(request, filter=msgspec.structs.replace(request.filter, until=until))


class Start:
    """Begins jobs, which a worker then works through."""

    def __init__(self, jobs: ReplayJobs) -> None:
        """Take where they are kept."""
        self._jobs = jobs

    def __call__(self, request: ReplayRequest, *, who: str, now: datetime) -> ReplayJob:
        """Begin one.

        Raises:
            Rejected: its parts do not fit together.
            Retryable: it may not be kept.
        """
        request = bounded(request, now)
        return self._jobs.add(request, who=who, matching=self._matching(request).matching, now=now)

    def would(self, request: ReplayRequest, now: datetime) -> Matching:
        """What it would send; the same errors."""
        return self._matching(bounded(request, now))

    def _matching(self, request: ReplayRequest) -> Matching:
        return self._jobs.matching(request.what, request.filter)
