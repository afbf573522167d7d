"""One subscription's messages: which wait, which are leased to whom until when, which come again and which do not.

Time is given, never read, so that every rule can be tested without waiting.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from local.pubsub.filters import Filter

DEFAULT_ATTEMPTS = 5
"""Pub/Sub documentation, "Handle message failures": the default of max_delivery_attempts."""


class Message(msgspec.Struct, frozen=True):
    """A published message.

    Attributes:
        id: given by the server, unique in the topic.
        data: the payload.
        attributes: the publisher's.
        ordering_key: messages that share one are delivered in order, where the subscription asks for it.
        published: seconds since the epoch.
    """

    id: str
    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str
    published: float


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a subscription that decide about delivery; times in seconds.

    Attributes:
        ack_deadline: how long a delivered message is leased.
        minimum_backoff: wait before the first redelivery after a nack or an expired lease; doubles each time.
        maximum_backoff: longest such wait.
        max_attempts: deliveries before a message is given up; None without a dead-letter topic.
        ordered: whether ordering keys are honoured.
        matches: the filter.
    """

    ack_deadline: float
    minimum_backoff: float
    maximum_backoff: float
    max_attempts: int | None
    ordered: bool
    matches: Filter


class Delivered(msgspec.Struct, frozen=True):
    """A message as it is handed out.

    Attributes:
        ack_id: names this one delivery.
        message: what was published.
        attempt: 1 for the first delivery.
    """

    ack_id: str
    message: Message
    attempt: int


class _Entry(msgspec.Struct):
    message: Message
    attempt: int = 0


class _Lease(msgspec.Struct):
    entry: _Entry
    until: float


class Subscription:
    """The state of one subscription.

    Attributes:
        policy: may be replaced at any time.
    """

    def __init__(self, policy: Policy, *, given_up: Callable[[Message, int], None]) -> None:
        """Begin empty.

        Args:
            policy: how to deliver.
            given_up: told of each message that reached its last attempt, with the number of attempts.
        """
        self.policy = policy
        self._given_up = given_up
        self._waiting: deque[_Entry] = deque()
        self._leases: dict[str, _Lease] = {}
        self._backing_off: list[tuple[float, int, _Entry]] = []
        self._keys_under_way: set[str] = set()
        self._numbers = itertools.count(1)

    def add(self, message: Message) -> None:
        """Queue a message, unless the filter keeps it out: then it counts as acknowledged."""
        self._waiting.append(_Entry(message))

    def take(self, most: int, now: float) -> list[Delivered]:
        """Lease the next messages, at most so many."""
        self._return_due(now)
        taken: list[Delivered] = []
        held_back: list[_Entry] = []
        while self._waiting and len(taken) < most:
            entry = self._waiting.popleft()
            key = entry.message.ordering_key if self.policy.ordered else ""
            if key and key in self._keys_under_way:
                held_back.append(entry)
                continue
            if key:
                self._keys_under_way.add(key)
            entry.attempt += 1
            ack_id = f"{entry.message.id}:{next(self._numbers)}"
            self._leases[ack_id] = _Lease(entry, now + self.policy.ack_deadline)
            taken.append(Delivered(ack_id, entry.message, entry.attempt))
        self._waiting.extendleft(reversed(held_back))
        return taken

    def acknowledge(self, ack_id: str) -> Message | None:
        """Be done with a delivery; the message, or None if its lease is over (it will come again)."""
        lease = self._leases.pop(ack_id, None)
        if lease is None:
            return None
        self._keys_under_way.discard(lease.entry.message.ordering_key)
        return lease.entry.message

    def modify_deadline(self, ack_id: str, seconds: float, now: float) -> bool:
        """Extend or shorten a lease; 0 is a nack. False if the lease is over."""
        lease = self._leases.get(ack_id)
        if lease is None:
            return False
        if seconds > 0:
            lease.until = now + seconds
        else:
            self._fail(ack_id, now)
        return True

    def next_event(self) -> float | None:
        """When something comes due by itself: a lease that ends, a wait that is over."""
        times = [lease.until for lease in self._leases.values()]
        if self._backing_off:
            times.append(self._backing_off[0][0])
        return min(times, default=None)

    @property
    def leases(self) -> AbstractSet[str]:
        """The ack ids of every delivery that is under way."""
        return self._leases.keys()

    @property
    def waiting(self) -> int:
        """Messages that could be delivered now, but for their ordering keys."""
        return len(self._waiting)

    @property
    def leased(self) -> int:
        """Messages that somebody has and has not acknowledged."""
        return len(self._leases)

    @property
    def backing_off(self) -> int:
        """Messages that wait before they are delivered again."""
        return len(self._backing_off)

    def unacknowledged(self) -> Iterator[Message]:
        """Every message that is still owed."""
        for entry in self._waiting:
            yield entry.message
        for lease in self._leases.values():
            yield lease.entry.message
        for _, _, entry in self._backing_off:
            yield entry.message

    def _return_due(self, now: float) -> None:
        for ack_id in [ack_id for ack_id, lease in self._leases.items() if lease.until <= now]:
            self._fail(ack_id, now)
        while self._backing_off and self._backing_off[0][0] <= now:
            entry = heapq.heappop(self._backing_off)[2]
            self._keys_under_way.discard(entry.message.ordering_key)
            self._waiting.appendleft(entry)

    def _fail(self, ack_id: str, now: float) -> None:
        """A delivery came to nothing: give the message up, or deliver it again after a while."""
        entry = self._leases.pop(ack_id).entry
        key = entry.message.ordering_key
        if self.policy.max_attempts is not None and entry.attempt >= self.policy.max_attempts:
            self._keys_under_way.discard(key)
            self._given_up(entry.message, entry.attempt)
            return
        wait = min(self.policy.minimum_backoff * 2 ** (entry.attempt - 1), self.policy.maximum_backoff)
        if wait > 0:  # its key stays under way: what follows must not overtake it
            heapq.heappush(self._backing_off, (now + wait, next(self._numbers), entry))
        else:
            self._keys_under_way.discard(key)
            self._waiting.appendleft(entry)
