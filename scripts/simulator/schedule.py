"""Decides when each event is due: event number n at n / rate seconds, for as long as the run lasts."""

import heapq
import itertools
import math
from collections.abc import Callable
from datetime import datetime, timedelta

from .anomalies import Injection
from .plan import Emission, Planner


class Schedule:
    """A stream of events at a fixed rate.

    Each slot sends the earliest waiting event; when none is due, the planner places a new order. So the rate is exact,
    regardless of how many events an order has and how they are spread over time.
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
            most_events: the largest number of events to send; ``math.inf`` for no limit.
            most_orders: the largest number of orders to place; ``math.inf`` for no limit.
            without_event: called with each ``missing`` anomaly, for which no event is sent.
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
        self._sent = 0
        self._stopping = False

    def next_at(self) -> float | None:
        """When the next event is due, in seconds since the start; None when the run is over."""
        at = self._slot / self._rate
        if not self._stopping and not (self._waiting and self._waiting[0][0] <= at):
            self._place(at)
        if not self._waiting:
            return None
        first = self._waiting[0][2]
        return max(at, first.due) if first.wait_until_due else at

    def take(self) -> Emission:
        """The next event, with the time that ``next_at`` returned.

        Raises:
            IndexError: the run is over.
        """
        at = self.next_at()
        if at is None:
            raise IndexError("the run is over")
        emission = heapq.heappop(self._waiting)[2]
        if not emission.is_lost:  # nobody sends it: the slot is for the next one
            self._slot = max(self._slot, math.floor(at * self._rate)) + 1
            self._sent += 1
        emission.due = at
        # A repeated event is the same fact and has the time of the original.
        original = emission.original
        emission.time = original.time if original else self._start + timedelta(seconds=at)
        return emission

    def stop(self) -> None:
        """Place no more orders. A late leg that is not due yet is never sent and becomes a missing leg."""
        self._stopping = True
        dropped = [entry[2] for entry in self._waiting if entry[2].wait_until_due]
        self._waiting = [entry for entry in self._waiting if not entry[2].wait_until_due]
        heapq.heapify(self._waiting)
        for emission in dropped:
            if emission.injection:
                emission.injection.anomaly = "missing"
                emission.injection.details["reason"] = "the run was stopped before the late leg was due"
                self._without_event(emission.injection)

    def _place(self, at: float) -> None:
        """Place one more order, if the limits leave room for all its events."""
        room = self._most_events - self._sent - len(self._waiting)
        if self._planner.orders >= self._most_orders:
            return
        if room >= self._planner.most_events_of_an_order:
            emissions, injection = self._planner.order(at, horizon=self._horizon)
            if injection and injection.anomaly == "missing" and not injection.details.get("undelivered"):
                self._without_event(injection)
        else:
            emissions = self._planner.fill(at, room=int(room))
        for emission in emissions:
            heapq.heappush(self._waiting, (emission.due, next(self._arrival), emission))
