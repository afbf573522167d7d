"""The steps as functions of Flink: state, timers and outputs. They run in the Java process of a TaskManager.

State is text: in PyFlink's thread mode, state of byte arrays and state with a time to live do not work. What has become
too old is removed by timers, which are rounded up so that few of them exist under one key.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, ProcessFunction
from pyflink.datastream.functions import KeyedBroadcastProcessFunction
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from helios.flink.steps import (
    RECONSIDER,
    Effects,
    Identify,
    Judge,
    Read,
    Silence,
    Totals,
    encode_record,
    milliseconds_after,
    moment,
)
from helios.reconciliation.declaration import Flow
from helios.reconciliation.fold import Fold
from helios.reconciliation.record import FlowRecord
from helios.sources.registry import Sources

KEYED = Types.ROW([Types.STRING(), Types.STRING()])
"""The type of a message with its key, between two tasks. A keyed function gets the message without the key."""

RECORD = Types.ROW_NAMED(["key", "value"], [Types.STRING(), Types.STRING()])
"""The type of a message for Kafka."""

EVENTS = OutputTag("events", RECORD)
DEAD_LETTERS = OutputTag("dead-letters", RECORD)
COUNTS = OutputTag("counts", KEYED)

SILENT = MapStateDescriptor("silent", Types.STRING(), Types.STRING())
"""What ``SilenceFunction`` found, under the empty key, in each task of ``JudgeFunction``."""

FLUSH_MS = 1_000
"""How long the counts of a part are collected before they are added to the whole, in milliseconds."""

SILENCE_TICK_MS = 10_000
"""How often silence is looked for, in milliseconds of the log's time."""

_HOUR = 3_600_000

Output = Iterator[Any]


class Declarations(NamedTuple):
    """What the functions of a job are made of; it travels with the job.

    Attributes:
        flows: the declared flows.
        sources: the built-in and the declared sources.
        horizon: how long identities and records are stored.
    """

    flows: tuple[Flow, ...]
    sources: Sources
    horizon: timedelta

    @property
    def fold(self) -> Fold:
        """The fold of the flows."""
        return Fold(self.flows, self.sources)


class _Function:
    """What all functions have in common."""

    def __init__(self, declarations: Declarations) -> None:
        self.declarations = declarations

    def _record(self, message: tuple[str, str]) -> Row:
        return Row(*message)

    def _side(self, effects: Effects) -> Output:
        """The effects that leave a function beside its main output."""
        if effects.event:
            yield EVENTS, self._record(effects.event)
        if effects.dead_letter:
            yield DEAD_LETTERS, self._record(effects.dead_letter)
        if effects.counted:
            yield COUNTS, Row(*effects.counted)


class ReadFunction(_Function, ProcessFunction):
    """Value of the log → identity and readable delivery."""

    def open(self, _: Any) -> None:
        """Prepare the step."""
        self._read = Read(self.declarations.sources)

    def process_element(self, value: str, ctx: Any) -> Output:
        """Read a message."""
        effects = self._read(value, moment(ctx.timestamp()))
        if effects.identified:
            yield Row(*effects.identified)
        yield from self._side(effects)


class IdentifyFunction(_Function, KeyedProcessFunction):
    """Readable delivery, by identity → evidence with the key of its instance."""

    def open(self, context: Any) -> None:
        """Prepare the step and the state."""
        declarations = self.declarations
        self._identify = Identify(declarations.fold, declarations.sources, horizon=declarations.horizon)
        self._known = context.get_state(ValueStateDescriptor("known", Types.STRING()))
        self._horizon = declarations.horizon // timedelta(milliseconds=1)

    def process_element(self, value: str, ctx: Any) -> Output:
        """Decide what a delivery is."""
        effects = self._identify(value, self._known.value())
        if effects.known:
            self._known.update(effects.known)
            ctx.timer_service().register_event_time_timer(_next_hour(ctx.timestamp() + self._horizon))
        for evidence in effects.evidence:
            yield Row(*evidence)
        yield from self._side(effects)

    def on_timer(self, timestamp: int, ctx: Any) -> Output:  # noqa: ARG002 - its signature
        """Forget the identity."""
        self._known.clear()
        yield from ()


class JudgeFunction(_Function, KeyedBroadcastProcessFunction):
    """Evidence, by instance, and the silent sources → records that have changed."""

    def open(self, context: Any) -> None:
        """Prepare the step and the state."""
        declarations = self.declarations
        self._judge = Judge(declarations.fold, horizon=declarations.horizon)
        self._stored = context.get_state(ValueStateDescriptor("record", Types.STRING()))

    def process_element(self, value: str, ctx: Any) -> Output:
        """Add evidence to a record."""
        record = self._judge.add(value, self._stored.value())
        if record is None:
            return
        yield self._update(record)
        timers = ctx.timer_service()
        if deadline := self._judge.deadline(record):
            timers.register_event_time_timer(milliseconds_after(deadline))
        timers.register_event_time_timer(_next_hour(milliseconds_after(self._judge.forget_at(record))))

    def process_broadcast_element(self, value: str, ctx: Any) -> Output:
        """Take note of the silent sources."""
        ctx.get_broadcast_state(SILENT).put("", value)
        yield from ()

    def on_timer(self, timestamp: int, ctx: Any) -> Output:
        """Act on the deadline of a record, or remove it."""
        stored, now = self._stored.value(), moment(timestamp)
        if stored is None:
            return
        record, changed = self._judge.expire(stored, now, ctx.get_broadcast_state(SILENT).get(""))
        if changed:
            yield self._update(record)
        if (deadline := self._judge.deadline(record)) and deadline <= now:
            ctx.timer_service().register_event_time_timer(timestamp + RECONSIDER // timedelta(milliseconds=1))
        if self._judge.forget_at(record) <= now:
            self._stored.clear()

    def _update(self, record: FlowRecord) -> Row:
        message = encode_record(record)
        self._stored.update(message[1])
        return self._record(message)


class TallyFunction(_Function, KeyedProcessFunction):
    """Count of one delivery, by part → counts of a part, once a second, with the key of the whole.

    The second ends by the clock, so that counts are shown soon, or by the time of the log, whichever is first: after an
    outage hours of the log pass in seconds, and silence must be known at the deadlines of their time.
    """

    def open(self, context: Any) -> None:
        """Prepare the state."""
        self._pending = context.get_state(ValueStateDescriptor("pending", Types.STRING()))

    def process_element(self, value: str, ctx: Any) -> Output:
        """Collect a count."""
        before = self._pending.value()
        self._pending.update(Totals.add(value, before))
        if before is None:
            timers = ctx.timer_service()
            timers.register_processing_time_timer(timers.current_processing_time() + FLUSH_MS)
            timers.register_event_time_timer((ctx.timestamp() // FLUSH_MS + 1) * FLUSH_MS)
        yield from ()

    def on_timer(self, timestamp: int, ctx: Any) -> Output:  # noqa: ARG002 - its signature
        """Pass on what was collected."""
        count = self._pending.value()
        if count is not None:
            self._pending.clear()
            yield Row(Totals.key(count), count)


class TotalFunction(_Function, KeyedProcessFunction):
    """Counts of the parts, by minute, source and type → the whole count so far."""

    def open(self, context: Any) -> None:
        """Prepare the state."""
        self._total = context.get_state(ValueStateDescriptor("total", Types.STRING()))

    def process_element(self, value: str, ctx: Any) -> Output:
        """Add a count."""
        total = Totals.add(value, self._total.value())
        self._total.update(total)
        ctx.timer_service().register_event_time_timer(milliseconds_after(Totals.forget_at(total)))
        yield self._record((Totals.key(total), total))

    def on_timer(self, timestamp: int, ctx: Any) -> Output:  # noqa: ARG002 - its signature
        """Forget the minute."""
        self._total.clear()
        yield from ()


class SilenceFunction(_Function, KeyedProcessFunction):
    """All counts, under one key → the silent sources by flow, when they change."""

    def open(self, context: Any) -> None:
        """Prepare the step and the state."""
        self._silence = Silence(self.declarations.fold)
        self._counts = context.get_map_state(MapStateDescriptor("counts", Types.STRING(), Types.STRING()))
        self._last = context.get_state(ValueStateDescriptor("last", Types.STRING()))

    def process_element(self, value: Row, ctx: Any) -> Output:
        """Store a count."""
        self._counts.put(value[0], value[1])
        timers = ctx.timer_service()
        after = max(timers.current_watermark(), milliseconds_after(self._silence.minute(value[1])))
        timers.register_event_time_timer((after // SILENCE_TICK_MS + 1) * SILENCE_TICK_MS)
        yield from ()

    def on_timer(self, timestamp: int, ctx: Any) -> Output:
        """Look for silence, and again at the next tick for as long as there are counts."""
        now = moment(timestamp)
        counts = dict(self._counts.items())
        for key in [key for key, count in counts.items() if self._silence.is_over(count, now)]:
            self._counts.remove(key)
            del counts[key]
        if counts:
            ctx.timer_service().register_event_time_timer(timestamp + SILENCE_TICK_MS)
        silent = self._silence(counts, now)
        if silent != self._last.value():
            self._last.update(silent)
            yield silent


def _next_hour(timestamp: int) -> int:
    return -(-timestamp // _HOUR) * _HOUR
