"""Reading flow instances."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol
from helios.model.events import Event, Key
from helios.model.replay import Checkpoint, Matching, Replayed, ReplayFilter, ReplayJob, ReplayRequest, State, Target, What
from helios.model.stream import Consumer, Frame, Parked, StreamEvents, StreamFrame, StreamWindow
from helios.model.counts import Count
from helios.model.dead_letters import DeadLetter
from helios.model.audit import Action, Audited
from helios.model.dead_letters import DeadLetterFilter, DeadLetterGroup, KeptDeadLetter, ReplayedAs
from helios.model.flows import Due, FlowFilter
from helios.model.events import EventFilter
from helios.model.counts import MinuteCount, Totals
from helios.model.paging import Page
from helios.reconciliation.record import FlowCount, FlowKey, FlowRecord, FlowSums
from helios.model.tokens import COMMAND_LINE, Token



class FlowReader(Protocol):
    """What is known of stories, for those who ask. Every method raises Retryable when the store can't be reached."""

    def flows(self, where: FlowFilter, *, after: str | None, limit: int) -> Page[FlowRecord]:
        """Stories, newest ``opened_at`` first.

        Raises:
            Rejected: ``after`` is not a cursor that an earlier page gave.
        """

    def flow(self, key: FlowKey) -> FlowRecord | None:
        """One story, or None."""

    def flow_counts(self, flow: str | None, *, since: datetime, until: datetime, bucket: timedelta) -> list[FlowCount]:
        """The sums of stories that began from ``since`` to before ``until``, minutes taken together in buckets.

        The first bucket begins with the slot of ``since``; buckets of whole slots are read from few rows.
        """

    def flow_sums(self, flow: str | None, *, since: datetime, until: datetime, bucket: timedelta) -> FlowSums:
        """The same sums with the position of the stream, and with what only frames without a position tell.

        So the sums of that position are known, to which whoever follows the stream adds later frames.
        """

    def oldest_open(self, flows: Collection[str]) -> datetime | None:
        """When the story of these flows that has been open longest began; None when none is open."""
