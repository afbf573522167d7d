"""Decides which event is due when: event number n at n / rate seconds, for as long as the run lasts."""

import heapq
import itertools
import math
from collections.abc import Callable
from datetime import datetime, timedelta

from .anomalies import Injection
from .plan import MOST_EVENTS_OF_AN_ORDER, Emission, Planner


class Schedule:
    """A stream of events at a fixed rate.

    Every slot takes the earliest event that waits; when none is due, a new order is placed. So the rate holds
    exactly, whatever an order's events are and however they are spread over time.
    """

    def __init__(
        self,
        planner: Planner,
        *,
        start: datetime,
        rate: float,
        most_events: float,
        most_orders: float,
        without_event: Callable[[Injection], None],
    ) -> None:
        """Build a schedule.

        Args:
            planner: plans the orders.
            start: the instant of the first slot, UTC.
            rate: events per second.
            most_events: never send more than so many; ``math.inf`` for no limit.
            most_orders: never place more than so many; ``math.inf`` for no limit.
            without_event: called with each anomaly that consists in an event not being sent.
        """
        self._planner = planner
        self._start = start
        self._rate = rate
        self._most_events = most_events
        self._most_orders = most_orders
        self._horizon = most_events / rate
        self._without_event = without_event
        self._waiting: list[tuple[float, int, Emission]] = []
        self._arrival = itertools.count()
        self._slot = 0
        self._taken = 0
        self._stopping = False

    def next_at(self) -> float | None:
        """When the next event is due, in seconds since the start; None when the run is over."""
        at = self._slot / self._rate
        if not self._stopping and not (self._waiting and self._waiting[0][0] <= at):
            self._place(at)
        if not self._waiting:
            return None
        first = self._waiting[0][2]
        return max(at, first.due) if first.patient else at

    def take(self) -> Emission:
        """The event for which ``next_at`` told the time, stamped with that time.

        Raises:
            IndexError: the run is over.
        """
        at = self.next_at()
        if at is None:
            raise IndexError("the run is over")
        emission = heapq.heappop(self._waiting)[2]
        self._slot = max(self._slot, math.floor(at * self._rate)) + 1
        self._taken += 1
        emission.due = at
        # A repeated event is the same fact: it happened when the original did.
        original = emission.original
        emission.time = original.time if original else self._start + timedelta(seconds=at)
        return emission

    def stop(self) -> None:
        """Place no more orders. A late leg that is not due yet will never come, so it becomes a missing one."""
        self._stopping = True
        dropped = [entry[2] for entry in self._waiting if entry[2].patient]
        self._waiting = [entry for entry in self._waiting if not entry[2].patient]
        heapq.heapify(self._waiting)
        for emission in dropped:
            if emission.injection:
                emission.injection.anomaly = "missing"
                emission.injection.details["reason"] = "the run was stopped before the late leg was due"
                self._without_event(emission.injection)

    def _place(self, at: float) -> None:
        """Place one more order, if the limits leave room for all that may become of it."""
        room = self._most_events - self._taken - len(self._waiting)
        if self._planner.orders >= self._most_orders:
            return
        if room >= MOST_EVENTS_OF_AN_ORDER:
            emissions, injection = self._planner.order(at, horizon=self._horizon)
            if injection and injection.anomaly == "missing":
                self._without_event(injection)
        else:
            emissions = self._planner.filling(at, room=int(room))
        for emission in emissions:
            heapq.heappush(self._waiting, (emission.due, next(self._arrival), emission))
