"""The steps as functions of Flink: state, timers and outputs. They run in the Java process of a TaskManager.

State is text: in PyFlink's thread mode, state of byte arrays and state with a time to live do not work. What has become
too old is removed by timers, which are rounded up so that few of them exist under one key.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, ProcessFunction
from pyflink.datastream.functions import KeyedBroadcastProcessFunction
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from helios.flink.rules import TaskRules
from helios.flink.steps import (
    ERASE_AGAIN,
    RECONSIDER,
    Effects,
    Identify,
    Judge,
    Note,
    Read,
    Silence,
    Totals,
    encode_record,
    milliseconds_after,
    moment,
)
from helios.model.events import ERASED
from helios.reconciliation.declaration import Flow
from helios.reconciliation.record import FlowRecord
from helios.sources.registry import Sources

KEYED = Types.ROW([Types.STRING(), Types.STRING()])
"""The type of a message with its key, between two tasks. A keyed function gets the message without the key."""

RECORD = Types.ROW_NAMED(["key", "value"], [Types.STRING(), Types.STRING()])
"""The type of a message for Kafka."""

EVENTS = OutputTag("events", RECORD)
DEAD_LETTERS = OutputTag("dead-letters", RECORD)
COUNTS = OutputTag("counts", KEYED)

BROADCAST = MapStateDescriptor("silent", Types.STRING(), Types.STRING())
"""What every task knows: under RULES the last ``RulesMessage``, under SILENT what ``SilenceFunction`` found."""

RULES = "rules"
SILENT = ""

OUT_OF_TURN = OutputTag("erased", KEYED)
"""What the log says about an instance beside deliveries: the log's time of it, and what a recompute has read; no text
after the time: the instance was erased. PyFlink's messages of side outputs have no time themselves."""

ANNOUNCED = OutputTag("rules", KEYED)
"""The messages that say which versions of flows are in force."""

FLUSH_MS = 1_000
"""How long the counts of a part are collected before they are added to the whole, in milliseconds."""

SILENCE_TICK_MS = 10_000
"""How often silence is looked for, in milliseconds of the log's time."""

_HOUR = 3_600_000
_ERASE_AGAIN_MS = ERASE_AGAIN // timedelta(milliseconds=1)

Output = Iterator[Any]


class Declarations(NamedTuple):
    """What the functions of a job are made of; it travels with the job.

    Attributes:
        flows: the declared flows.
        sources: the built-in and the declared sources.
        horizon: how long identities and records are stored.
        file: the file that owns the flows; None: people may edit them.
    """

    flows: tuple[Flow, ...]
    sources: Sources
    horizon: timedelta
    file: str | None = None


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


class _RuledFunction(_Function, KeyedBroadcastProcessFunction):
    """A keyed function that depends on the rules, which it receives as broadcast state."""

    def open(self, context: Any) -> None:  # noqa: ARG002 - its signature
        """Begin with the declared rules. The state has later ones, but can't be read here."""
        declarations = self.declarations
        self._rules = TaskRules(declarations.flows, declarations.sources, file=declarations.file)
        self._is_restored = False
        self._rule()

    def process_broadcast_element(self, value: Row, ctx: Any) -> Output:
        """Take later rules, or note what else is broadcast."""
        self._restore(ctx)
        if value[0] != RULES:
            ctx.get_broadcast_state(BROADCAST).put(value[0], value[1])
        elif self._rules.take(value[1]):
            ctx.get_broadcast_state(BROADCAST).put(RULES, value[1])
            self._rule()
        yield from ()

    def _restore(self, ctx: Any) -> None:
        """Take the rules that a checkpoint has, before the first message is processed by other ones."""
        if not self._is_restored:
            self._is_restored = True
            text = ctx.get_broadcast_state(BROADCAST).get(RULES)
            if text and self._rules.take(text):
                self._rule()

    def _rule(self) -> None:
        """Build the step by the rules of now."""
        raise NotImplementedError


class ReadFunction(_Function, ProcessFunction):
    """Value of the log → identity and readable delivery."""

    def open(self, _: Any) -> None:
        """Prepare the step."""
        self._read = Read(self.declarations.sources)

    def process_element(self, value: str | None, ctx: Any) -> Output:
        """Read a message."""
        effects = self._read(value, moment(ctx.timestamp()))
        if effects.identified:
            yield Row(*effects.identified)
        if effects.rules:
            yield ANNOUNCED, Row(RULES, effects.rules)
        for key in effects.erased_events:
            yield Row(key, ERASED)
        for key in effects.erased_instances:
            yield OUT_OF_TURN, Row(key, f"{ctx.timestamp()} ")
        if effects.recomputed:
            key, text = effects.recomputed
            yield OUT_OF_TURN, Row(key, f"{ctx.timestamp()} {text}")
        yield from self._side(effects)


class IdentifyFunction(_RuledFunction):
    """Readable delivery, by identity → evidence with the key of its instance."""

    def open(self, context: Any) -> None:
        """Prepare the step and the state."""
        super().open(context)
        self._known = context.get_state(ValueStateDescriptor("known", Types.STRING()))

    def _rule(self) -> None:
        rules, declarations = self._rules, self.declarations
        self._identify = Identify(
            rules.fold, declarations.sources, horizon=declarations.horizon, generation=rules.generation
        )

    def process_element(self, value: str, ctx: Any) -> Output:
        """Decide what a delivery is."""
        self._restore(ctx)
        effects = self._identify(value, self._known.value())
        if effects.known:
            self._known.update(effects.known)
            forget_at = self._identify.forget_at(moment(ctx.timestamp()))
            ctx.timer_service().register_event_time_timer(_next_hour(milliseconds_after(forget_at)))
        for evidence in effects.evidence:
            yield Row(*evidence)
        yield from self._side(effects)

    def on_timer(self, timestamp: int, ctx: Any) -> Output:  # noqa: ARG002 - its signature
        """Forget the identity."""
        self._known.clear()
        yield from ()


class JudgeFunction(_RuledFunction):
    """Evidence, by instance, the rules, and the silent sources → records that have changed.

    Evidence by rules that have not reached this task yet waits for them: it may be of a flow that is new.
    """

    def open(self, context: Any) -> None:
        """Prepare the step and the state."""
        super().open(context)
        self._stored = context.get_state(ValueStateDescriptor("record", Types.STRING()))
        self._waiting = context.get_state(ValueStateDescriptor("waiting", Types.STRING()))
        # Its name is from when it held the time of an erasure only.
        self._out_of_turn = context.get_state(ValueStateDescriptor("erased", Types.STRING()))

    def _rule(self) -> None:
        rules = self._rules
        self._judge = Judge(rules.fold, horizon=self.declarations.horizon, generation=rules.generation)

    def process_element(self, value: str, ctx: Any) -> Output:
        """Add evidence to a record, or note what else the log says about it."""
        self._restore(ctx)
        if value[0] != "[":
            # Evidence that was in the log before may still be on its way here. The timer comes after it.
            at, _, text = value.partition(" ")
            self._put_notes([*self._notes(), (int(at), text)])
            ctx.timer_service().register_event_time_timer(int(at))
        elif self._judge.waits_for_rules(value):
            waiting = msgspec.json.decode(self._waiting.value() or "[]", type=list[str])
            self._waiting.update(msgspec.json.encode([*waiting, value]).decode())
            ctx.timer_service().register_event_time_timer(ctx.timestamp() + FLUSH_MS)
        else:
            yield from self._add(value, ctx)

    def _add(self, value: str, ctx: Any) -> Output:
        record = self._judge.add(value, self._stored.value())
        if record is not None:
            yield self._update(record)
            self._wait(record, ctx)

    def _wait(self, record: FlowRecord, ctx: Any) -> None:
        """Set the timers of a record."""
        if deadline := self._judge.deadline(record):
            ctx.timer_service().register_event_time_timer(milliseconds_after(deadline))
        self._remember(record, ctx)

    def _remember(self, record: FlowRecord, ctx: Any) -> None:
        """Set the timer at which a record is removed."""
        forget_at = _next_hour(milliseconds_after(self._judge.forget_at(record)))
        ctx.timer_service().register_event_time_timer(forget_at)

    def on_timer(self, timestamp: int, ctx: Any) -> Output:
        """Judge what has waited, act on the deadline of a record, or remove it."""
        self._restore(ctx)
        yield from self._judge_waiting(timestamp, ctx)
        yield from self._act_on_notes(timestamp, ctx)
        stored, now = self._stored.value(), moment(timestamp)
        if stored is None:
            return
        record, changed = self._judge.expire(stored, now, ctx.get_broadcast_state(BROADCAST).get(SILENT))
        if changed:
            yield self._update(record)
        if deadline := self._judge.deadline(record):
            again = timestamp + RECONSIDER // timedelta(milliseconds=1)
            # A later deadline is that of other rules than those by which the timer was set.
            ctx.timer_service().register_event_time_timer(again if deadline <= now else milliseconds_after(deadline))
        elif self._judge.forget_at(record) <= now:
            self._stored.clear()

    def _judge_waiting(self, timestamp: int, ctx: Any) -> Output:
        if not (text := self._waiting.value()):
            return
        waiting = msgspec.json.decode(text, type=list[str])
        if any(map(self._judge.waits_for_rules, waiting)):
            ctx.timer_service().register_event_time_timer(timestamp + FLUSH_MS)
            return
        self._waiting.clear()
        for value in waiting:
            yield from self._add(value, ctx)

    def _notes(self) -> list[Note]:
        """What the log says about the instance beside deliveries, and was not acted on yet."""
        if not (text := self._out_of_turn.value()):
            return []
        notes = msgspec.json.decode(text, type=list[Note] | int)
        return [(notes, "")] if isinstance(notes, int) else notes

    def _put_notes(self, notes: list[Note]) -> None:
        if notes:
            self._out_of_turn.update(msgspec.json.encode(notes).decode())
        else:
            self._out_of_turn.clear()

    def _act_on_notes(self, timestamp: int, ctx: Any) -> Output:
        """Take up what a recompute has read, or forget the evidence from before an erasure."""
        notes = sorted(self._notes())
        due = [(at, text) for at, text in notes if at <= timestamp]
        if not due:
            return
        if self._waiting.value() or any(text and self._judge.must_wait(text) for _, text in due):
            ctx.timer_service().register_event_time_timer(timestamp + FLUSH_MS)
            return
        erased = [at for at, text in due if not text and at + _ERASE_AGAIN_MS > timestamp]
        self._put_notes([*((at, "") for at in erased), *notes[len(due) :]])
        for at in erased:
            ctx.timer_service().register_event_time_timer(at + _ERASE_AGAIN_MS)
        silent = ctx.get_broadcast_state(BROADCAST).get(SILENT)
        record, is_written = self._judge.act_on(due, self._stored.value(), moment(timestamp), silent)
        if record is None:
            self._stored.clear()
        elif is_written:
            yield self._update(record, replaces=True)
            self._remember(record, ctx)

    def _update(self, record: FlowRecord, *, replaces: bool = False) -> Row:
        message = encode_record(record, replaces=replaces)
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
            # Not by the time of the message: those of side outputs have none.
            timers.register_event_time_timer((timers.current_watermark() // FLUSH_MS + 1) * FLUSH_MS)
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


class SilenceFunction(_RuledFunction):
    """All counts, under one key → the silent sources by flow, when they change."""

    def open(self, context: Any) -> None:
        """Prepare the step and the state."""
        super().open(context)
        self._counts = context.get_map_state(MapStateDescriptor("counts", Types.STRING(), Types.STRING()))
        self._last = context.get_state(ValueStateDescriptor("last", Types.STRING()))

    def _rule(self) -> None:
        self._silence = Silence(self._rules.fold)

    def process_element(self, value: Row, ctx: Any) -> Output:
        """Store a count."""
        self._counts.put(value[0], value[1])
        timers = ctx.timer_service()
        after = max(timers.current_watermark(), milliseconds_after(self._silence.minute(value[1])))
        timers.register_event_time_timer((after // SILENCE_TICK_MS + 1) * SILENCE_TICK_MS)
        yield from ()

    def on_timer(self, timestamp: int, ctx: Any) -> Output:
        """Look for silence, and again at the next tick for as long as there are counts."""
        self._restore(ctx)
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
            yield Row(SILENT, silent)


def _next_hour(timestamp: int) -> int:
    return -(-timestamp // _HOUR) * _HOUR
