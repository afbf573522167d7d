"""Recoveries in memory."""

import itertools
from datetime import datetime

from msgspec.structs import replace

from helios.model.paging import Page, decode_cursor, encode_cursor
from helios.model.recoveries import Recovery, RecoveryRequest
from helios.reconciliation.record import FlowKey, FlowRecord


class MemoryRecoveries:
    """Implements ``Recoveries``. It knows no instances, so that no policy finds any."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._recoveries: dict[int, tuple[Recovery, datetime]] = {}

    def start(
        self, request: RecoveryRequest, *, actor: str, is_automatic: bool = False, now: datetime
    ) -> Recovery | None:
        """Store a running recovery; None if one of this leg is running."""
        leg = (request.flow, request.key, request.leg)
        if any((each.flow, each.key, each.leg) == leg for each in self.running()):
            return None
        recovery = Recovery(
            id=next(self._numbers),
            flow=request.flow,
            key=request.key,
            leg=request.leg,
            actor=actor,
            is_automatic=is_automatic,
            requested_at=now,
        )
        self._recoveries[recovery.id] = (recovery, now)
        return recovery

    def save(self, recovery: Recovery, *, due_at: datetime) -> None:
        """Store what a recovery has done so far."""
        if self._recoveries[recovery.id][0].ended_at is None:
            self._recoveries[recovery.id] = (replace(recovery), due_at)

    def get(self, number: int) -> Recovery | None:
        """The recovery with this id, or None."""
        stored = self._recoveries.get(number)
        return stored[0] if stored else None

    def page(self, *, instance: FlowKey | None, after: str | None, limit: int) -> Page[Recovery]:
        """A page of recoveries, or of those of one instance, the newest first."""
        before = decode_cursor(after, int) if after else None
        following = [
            recovery
            for number, (recovery, _) in sorted(self._recoveries.items(), reverse=True)
            if instance in {None, (recovery.flow, recovery.key)} and (before is None or number < before)
        ]
        more = len(following) > limit
        return Page(items=following[:limit], next_cursor=encode_cursor(following[limit - 1].id) if more else None)

    def due(self, now: datetime, *, limit: int) -> list[Recovery]:
        """The running recoveries to work on now, those that have waited longest first."""
        waiting = sorted((due_at, number) for number, (_, due_at) in self._recoveries.items() if due_at <= now)
        recoveries = [self._recoveries[number][0] for _, number in waiting]
        return [recovery for recovery in recoveries if recovery.state == "running"][:limit]

    def running(self) -> list[Recovery]:
        """All running recoveries."""
        return [recovery for recovery, _ in self._recoveries.values() if recovery.state == "running"]

    def automatic_since(self, flow: str, since: datetime) -> int:
        """How many recoveries the policy of a flow has started since then."""
        recoveries = [recovery for recovery, _ in self._recoveries.values() if recovery.is_automatic]
        return sum(recovery.flow == flow and recovery.requested_at > since for recovery in recoveries)

    def untried(
        self, flow: str, *, opened_by: datetime, opened_after: datetime, before: FlowRecord | None, limit: int
    ) -> list[FlowRecord]:
        """No instance."""
        return []

    def prefix(self) -> str:
        """How the names of everything begin that a recovery creates in a cloud."""
        return "helios-recovery-00000000-"
