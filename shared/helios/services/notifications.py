"""Sends notifications about incidents: each transition to each receiver once, by its key.

The transitions are an outbox, written with their incidents. One process at a time makes messages of them; any number of
processes send messages. A message that may have been sent is sent again, with the same id.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final

from helios.errors import Rejected, Retryable, TargetUnavailable
from helios.model.incidents import Transition
from helios.model.notifications import NEVER_DIGESTED, Message, Notifications
from helios.ports.notifications import NotificationStore, NotificationTarget, RoutingTurn

log = logging.getLogger("helios.notifications")

RETRIES: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""The waits between attempts (Standard Webhooks specification, "Deliverability and reliability")."""

JITTER: Final = 0.1
"""The share of a wait that is added at random at most, so that the messages of an outage do not come back at once."""

ATTEMPT_SECONDS: Final = 20.0
"""How long an attempt takes at most: the look-up of the name, and the limits of a request or of Apprise."""

LEASE: Final = timedelta(minutes=1)
"""After this time another process repeats an attempt whose result nobody has recorded; more than ATTEMPT_SECONDS."""

PERIOD: Final = timedelta(minutes=1)
"""The period of the rate above which a receiver gets digests."""

MAX_AGE: Final = timedelta(hours=1)
"""Older transitions are not routed: whoever sets up notifications wants to hear of what happens from now on."""


class NotificationJob:
    """Makes messages of transitions, and sends them.

    Attributes:
        receivers: the names of the declared receivers.
    """

    def __init__(
        self,
        store: NotificationStore,
        declared: Notifications,
        targets: Mapping[str, NotificationTarget],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the ports.

        Args:
            store: holds the transitions and the messages.
            declared: the content of the file.
            targets: a target for each receiver in the file.
            monotonic: the seconds by which time passes while messages are sent.
        """
        self.receivers = tuple(receiver.name for receiver in declared.receiver)
        self._store = store
        self._declared = declared
        self._targets = targets
        self._monotonic = monotonic
        # One for each receiver, so that those that do not answer delay no other.
        self._threads = ThreadPoolExecutor(max(1, len(targets)), "notify")
        self._sending: dict[str, Future[int]] = {}
        self._closing = threading.Event()

    def run(self, now: datetime, *, seconds: float = math.inf) -> int:
        """Make messages, send those that are due, and return how many were sent.

        Args:
            now: decides what is due.
            seconds: the time after which no further message is begun.

        Raises:
            Retryable: the store can't be reached. The next run does the rest.
        """
        return sum(sending.result() for sending in self._begin(now, seconds))

    def start(self, now: datetime) -> None:
        """Make messages, and send those that are due in threads, until ``close``.

        Raises:
            Retryable: the store can't be reached. The next call does the rest.
        """
        for sending in self._begin(now, math.inf):
            sending.add_done_callback(_log_error)

    def close(self) -> None:
        """Begin no further message, and wait for the results of those that are being sent."""
        self._closing.set()
        self._threads.shutdown()

    def _begin(self, now: datetime, seconds: float) -> list[Future[int]]:
        """Send to each receiver with a message that is due, except where an earlier call still does."""
        began = self._monotonic()

        def clock() -> datetime:
            return now + timedelta(seconds=self._monotonic() - began)

        self.compose(now)
        begun = []
        for name in self._store.due(now):
            earlier = self._sending.get(name)
            if name in self._targets and (earlier is None or earlier.done()):
                self._sending[name] = self._threads.submit(self._send_all, name, clock, began + seconds)
                begun.append(self._sending[name])
        return begun

    def compose(self, now: datetime) -> None:
        """Route the new transitions, and make messages of those that are in none."""
        with self._store.turn() as turn:
            if turn is None:
                return
            for transition in turn.unrouted():
                is_new = now - transition.at <= MAX_AGE
                turn.route(transition.key, self._declared.receivers_of(transition) if is_new else [])
            for receiver, transitions in turn.waiting().items():
                for message in self._messages(turn, receiver, transitions, now):
                    turn.compose(message, now)

    def _messages(
        self, turn: RoutingTurn, receiver: str, transitions: Sequence[Transition], now: datetime
    ) -> list[Message]:
        """The messages to make now: one for each transition, or a digest, or none while the last digest is recent."""
        recent = turn.recent(receiver, now - PERIOD)
        kinds = {declared.name: declared.kind for declared in self._declared.receiver}
        if len(transitions) + recent.number <= self._declared.digest_above or kinds.get(receiver) in NEVER_DIGESTED:
            return [Message(receiver=receiver, id=each.key, transitions=(each,)) for each in transitions]
        if recent.last_digest:
            return []
        id_ = f"digest-{transitions[0].key}"
        return [Message(receiver=receiver, id=id_, transitions=tuple(transitions), is_digest=True)]

    def _send_all(self, receiver: str, clock: Callable[[], datetime], deadline: float) -> int:
        """Send the messages of a receiver that are due, one after the other, and return how many were sent."""
        sent = 0
        while not self._closing.is_set() and self._monotonic() < deadline:
            # By the clock, not by the beginning of the run: the lease of a message begins with its attempt.
            message = self._store.claim(receiver, clock(), lease=LEASE)
            if message is None:
                break
            sent += self._send(message, clock)
        return sent

    def _send(self, message: Message, clock: Callable[[], datetime]) -> bool:
        """Make one attempt, and record its result."""
        try:
            self._targets[message.receiver].send(message)
        except TargetUnavailable as error:
            self._retry_later(message, error, clock())
            return False
        except Rejected as error:
            self._store.failed(message, str(error), due_at=None)
            log.error(
                "notification refused", extra={"receiver": message.receiver, "id": message.id, "error": str(error)}
            )
            return False
        self._store.sent(message, clock())
        log.info("notified", extra={"receiver": message.receiver, "id": message.id, "attempts": message.attempts})
        return True

    def _retry_later(self, message: Message, error: TargetUnavailable, now: datetime) -> None:
        wait = _wait(message.attempts, error.after_seconds)
        due_at = now + wait if wait else None
        self._store.failed(message, str(error), due_at=due_at)
        extra = {"receiver": message.receiver, "id": message.id, "error": str(error), "retry_at": due_at}
        log.log(logging.WARNING if due_at else logging.ERROR, "notification failed", extra=extra)


def _log_error(sending: Future[int]) -> None:
    error = sending.exception()
    if isinstance(error, Retryable):
        log.warning("notifying failed, retrying later", extra={"error": str(error)})
    elif error:
        log.error("notifying failed", exc_info=error)


def _wait(attempts: int, after_seconds: float | None) -> timedelta | None:
    """The time to the next attempt; None after the last one.

    Args:
        attempts: the attempts so far.
        after_seconds: how long the receiver asks to wait, if it says so.
    """
    if attempts > len(RETRIES):
        return None
    wait = RETRIES[attempts - 1]
    asked = timedelta(seconds=min(after_seconds or 0.0, RETRIES[-1].total_seconds()))
    return max(wait * (1 + JITTER * random.random()), asked)  # noqa: S311 - no secret
