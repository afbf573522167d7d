"""What the core asks of the world, as small promises; adapters keep them."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol

from helios.event import Event, Key
from helios.jobs import Checkpoint, Matching, Replayed, ReplayFilter, ReplayJob, ReplayRequest, State, Target, What
from helios.ledger import Consumer, Count, DeadLetter, Frame, Parked, StreamEvents, StreamFrame, StreamWindow
from helios.queries import (
    Action,
    Audited,
    DeadLetterFilter,
    DeadLetterGroup,
    Due,
    EventFilter,
    FlowFilter,
    KeptDeadLetter,
    MinuteCount,
    Page,
    ReplayedAs,
    Totals,
)
from helios.reconcile.record import FlowCount, FlowKey, FlowRecord, FlowSums
from helios.tokens import COMMAND_LINE, Token


class Seen(Protocol):
    """A fast, forgetful memory of stored keys. Only a hint: it may forget, it may be down, it may be wrong.

    Attributes:
        failures: how many calls it could not serve.
    """

    @property
    def failures(self) -> int: ...  # noqa: D102 - described above

    def recall(self, keys: Collection[Key]) -> set[Key]:
        """Those of the keys that are remembered; none when the memory is down. Never raises."""

    def remember(self, keys: Collection[Key]) -> None:
        """Remember keys whose events are committed. Never raises."""

    def probe(self) -> None:
        """Return if the memory answers now.

        Raises:
            Retryable: it does not.
        """

    def close(self) -> None:
        """Let go of its connections."""


class Transaction(Protocol):
    """One atomic write. Collections may be empty; keys within one call are distinct and sorted."""

    def answered(self) -> None:
        """Wait for what was begun: so that its answers are here, and need not wait for what is begun next."""

    def insert(self, events: Sequence[Event]) -> Callable[[], set[Key]]:
        """Begin to store the events that are new; what is returned waits, and tells which were."""

    def digests(self, keys: Collection[Key]) -> dict[Key, str]:
        """The content digest of each stored event among the keys."""

    def events(self, keys: Collection[Key]) -> dict[Key, Event]:
        """The stored events among the keys, whole."""

    def count(self, counts: Sequence[Count]) -> None:
        """Add to the ledger."""

    def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters; one whose fingerprint is known raises that one's attempts."""

    def replayed(self, number: int) -> list[Key] | None:
        """Lock a dead letter; the events that its replay became, None if it was not replayed with success."""

    def mark_replayed(self, number: int, replayed_as: ReplayedAs, keys: Sequence[Key], at: datetime) -> None:
        """Write down what the replay of a dead letter became; what the first one became stays."""

    def audit(self, line: Audited) -> None:
        """Add a line to the audit log."""

    def publish(self, frame: Frame, keys: Sequence[Key]) -> None:
        """Append a frame to the outbox, with the keys of all events that were stored, not only of those it shows."""

    def find_flows(self, keys: Collection[FlowKey]) -> Callable[[], dict[FlowKey, FlowRecord]]:
        """Begin to look for stories, locking none; what is returned waits, and gives those that are kept."""

    def minutes(self, since: datetime) -> list[MinuteCount]:
        """The minutes from this one on in which something arrived, in order, and by source within one."""

    def overdue_flows(self, due: Sequence[Due], *, limit: int) -> list[FlowRecord]:
        """Lock and return stories that still wait although they are due, the first opened first.

        Those that another transaction has locked are left to it.
        """

    def write_flows(self, changed: Sequence[FlowRecord]) -> Callable[[], set[FlowKey]]:
        """Begin to write stories, each if what is kept is the version before it; what is returned waits.

        It tells which were not written. Every one is locked from then on, so that those which somebody else has
        written meanwhile can be found again, and written for certain. To be called in the order of the keys, and before
        anything else locks stories, so that writers wait in line, and never for each other.
        """

    def count_flows(self, counts: Sequence[FlowCount]) -> None:
        """Add to the sums of stories."""


class EventStore(Protocol):
    """The judge of what is new."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin a write; leaving the block normally means that it is durable.

        Raises:
            Retryable: the store can't be reached, or refused for a reason that will pass. Nothing was written,
                or all of it was: doing it again is safe.
            Rejected: some value can't be stored, whoever tries. Nothing was written.
        """

    def remove_frames(self, *, before: datetime, at_last: datetime, limit: int) -> int:
        """Remove at most ``limit`` frames, the oldest first, and return how many.

        Args:
            before: those published before this, if every consumer of the stream is past them;
            at_last: those published before this in any case.
            limit: how many.

        Raises:
            Retryable: the store can't be reached.
        """


class Bell(Protocol):
    """Wakes whoever relays frames. Only a hurry: what is not rung for is found by the next ring or sweep."""

    def ring(self) -> None:
        """Say that there are new frames.

        Raises:
            Retryable: nobody heard it.
        """


class Listener(Protocol):
    """Hears the bell."""

    def wait(self, seconds: float) -> None:
        """Return when the bell has rung since the last call, or after so many seconds; it may return for nothing.

        Raises:
            Retryable: it can't be heard now.
        """

    def close(self) -> None:
        """Stop to listen."""


class Cursor(Protocol):
    """One consumer's place in the stream.

    Attributes:
        position: up to where everything has been dealt with.
    """

    position: int

    def advance(self, position: int) -> None:
        """Everything up to here has been dealt with."""

    def park(self, refused: Sequence[Parked]) -> None:
        """Keep what this consumer was refused for good, with the reason; what is parked already has the new one."""

    def parked(self, *, after: Key | None, limit: int) -> list[Event]:
        """What is parked, by key, after this one."""

    def release(self, keys: Collection[Key]) -> None:
        """These are not parked any more."""


class Outbox(Protocol):
    """The frames as a stream. Every method raises Retryable when the store can't be reached."""

    def number(self) -> None:
        """Give every frame that waits for one its position, gapless and durable."""

    def frames(self, *, after: int, limit: int) -> list[StreamFrame]:
        """The numbered frames that follow a position, in order."""

    def events(self, *, after: int, limit: int) -> list[StreamEvents]:
        """The same frames, each as the events that it stored: all of them, and whole."""

    def window(self) -> StreamWindow:
        """Which positions can still be had."""

    def consumers(self, *expected: str) -> list[Consumer]:
        """How everybody gets on who ever had a place in the stream, or is expected to have one, by name."""

    def cursor(self, consumer: str) -> AbstractContextManager[Cursor]:
        """A consumer's place, held by one at a time; it moves when the block is left normally."""


class Broadcaster(Protocol):
    """Reaches everybody who watches now."""

    def broadcast(self, message: bytes) -> None:
        """Send a message to all; who can't be reached any more is forgotten.

        Raises:
            Retryable: some who watch may not have got it.
        """


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


class EventSink(Protocol):
    """Where stored events are passed on to, for others to work with."""

    def send(self, events: Sequence[Event]) -> list[Parked]:
        """Pass on events, those of one order in the order given.

        Returning means that all are kept there but those returned, which were refused and would be again.

        Raises:
            Retryable: some may not be; sending all of them again is right, and may double the others.
        """

    def probe(self) -> None:
        """Return if it answers now.

        Raises:
            Retryable: it does not.
        """

    def close(self) -> None:
        """Let go of its connections."""


class Connections(Protocol):
    """Who is connected through a gateway. Every method raises Retryable when that can't be known."""

    def add(self, connection: str) -> None:
        """It is connected; saying so twice does no harm."""

    def remove(self, connection: str) -> None:
        """It has left."""

    def all(self) -> Sequence[str]:
        """Everybody who is connected, as far as is known."""


class EventReader(Protocol):
    """What was stored, for those who ask. Every method raises Retryable when the store can't be reached."""

    def totals(self, now: datetime, *, only_told: bool = False) -> Totals:
        """The ledger summed up.

        Args:
            now: the end of the last 24 hours.
            only_told: leave out what only frames without a position tell, so that the sums are those of a position.
        """

    def minutes(self, since: datetime) -> list[MinuteCount]:
        """The minutes from this one on in which something arrived, in order, and by source within one."""

    def events(self, where: EventFilter, *, after: str | None, limit: int) -> Page[Event]:
        """Events, newest ``received_at`` first.

        Raises:
            Rejected: ``after`` is not a cursor that an earlier page gave.
        """

    def event(self, key: Key) -> Event | None:
        """One event, or None."""

    def dead_letters(self, where: DeadLetterFilter, *, after: str | None, limit: int) -> Page[KeptDeadLetter]:
        """Dead letters, newest first.

        Raises:
            Rejected: ``after`` is not a cursor that an earlier page gave.
        """

    def dead_letter(self, number: int) -> KeptDeadLetter | None:
        """One dead letter by its id, or None."""

    def dead_letter_groups(self, where: DeadLetterFilter, *, limit: int) -> list[DeadLetterGroup]:
        """Dead letters by what is wrong with them, the most frequent first."""

    def audit_log(
        self, *, action: Action | None = None, subject: str | None = None, after: str | None = None, limit: int
    ) -> Page[Audited]:
        """The audit log, or what it says of one action or subject; the newest line first.

        Raises:
            Rejected: ``after`` is not a cursor that an earlier page gave.
        """

    def probe(self) -> None:
        """Return if the store answers now."""


class ReplayJobs(Protocol):
    """Replay jobs, and what they send. Every method raises Retryable when the store can't be reached."""

    def matching(self, what: What, where: ReplayFilter) -> Matching:
        """What a job would send now."""

    def add(self, request: ReplayRequest, *, who: str, matching: int, now: datetime) -> ReplayJob:
        """Keep a job, running, and its line of the audit log."""

    def get(self, number: int) -> ReplayJob | None:
        """One job, or None."""

    def page(self, *, after: str | None, limit: int) -> Page[ReplayJob]:
        """Jobs, the newest first.

        Raises:
            Rejected: ``after`` is not a cursor that an earlier page gave.
        """

    def first_running(self) -> ReplayJob | None:
        """The oldest job that has not ended."""

    def events(self, where: ReplayFilter, *, after: Checkpoint | None, limit: int) -> list[Event]:
        """The events that follow in a job, the first received first."""

    def letters(self, where: ReplayFilter, *, after: Checkpoint | None, limit: int) -> list[KeptDeadLetter]:
        """The dead letters that follow in a job, the first received first."""

    def advance(self, moved: ReplayJob, *, was: Checkpoint | None) -> bool:
        """Keep a job's checkpoint, counts and last error; False if it has ended, or does not stand where it was."""

    def end(self, number: int, state: State, *, who: str, now: datetime, error: str | None = None) -> ReplayJob | None:
        """End a job that runs, with its line of the audit log; None if it does not run."""

    def turn(self) -> AbstractContextManager[bool]:
        """Whether it is this process' turn to work on jobs: one does at a time, until it leaves the block or dies."""


class ReplayTarget(Protocol):
    """Where replayed events go.

    Attributes:
        batch: how many it is best given at once.
    """

    batch: int

    def send(self, job: ReplayJob, events: Sequence[Event]) -> Iterator[Replayed]:
        """Send events in order, marked with the job, and say of each in turn what became of it.

        Raises:
            PutOff: those that were not spoken of may not be there; sending them again is right.
            Rejected: nothing can be sent there, now or later.
        """

    def close(self) -> None:
        """Let go of its connections."""


class Targets(Protocol):
    """The targets outside of Helios that this process can reach."""

    def open(self, target: Target) -> ReplayTarget:
        """A webhook or a cloud's topic.

        Raises:
            Rejected: it is not allowed, not set up, or takes a library that is not here; the error says which.
        """


class Tokens(Protocol):
    """Who may ask. Every method raises Retryable when that can't be known."""

    def add(self, digest: str, token: Token, *, who: str = COMMAND_LINE) -> bool:
        """Keep a new token, and the audit log's line of it; False if its name is taken, though by a revoked one."""

    def use(self, digest: str, now: datetime) -> Token | None:
        """The token with this digest, valid or not, as it was before; it is marked as used, to the minute."""

    def all(self) -> list[Token]:
        """Every token that was ever made, the oldest first."""

    def revoke(self, name: str, now: datetime, *, who: str = COMMAND_LINE) -> bool:
        """Take a token back, with the audit log's line; False if there is none that still opens anything."""


class Tickets(Protocol):
    """What opens one WebSocket, once and soon. Every method raises Retryable when that can't be known."""

    def issue(self, name: str) -> str:
        """A ticket for whoever has this name; it is good for TICKET_SECONDS."""

    def redeem(self, ticket: str) -> str | None:
        """Whose ticket it is, the first time that anybody asks; None: it opens nothing."""


class RateLimit(Protocol):
    """How often somebody may ask."""

    def wait_seconds(self, who: str) -> int:
        """Count one question; 0 if it may be answered, else how long to wait before the next one."""

    def spent_seconds(self, who: str) -> int:
        """Count nothing; 0 if a question might be answered now, else how long to wait."""
