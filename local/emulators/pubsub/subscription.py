"""One subscription's messages: which wait, which are leased to whom until when, which come again and which do not.

Time is given, never read, so that every rule can be tested without waiting.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from local.emulators.pubsub.filters import Filter

MAX_TAKEN_BYTES = 10_000_000
"""Most bytes handed out at once, unless one message is larger: what a client can receive has an end."""

MAX_DOUBLINGS = 30
"""Far beyond any limit of a wait, and far below what a float can hold: a message may fail for ever."""

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

    @property
    def size(self) -> int:
        """About how many bytes it takes to hand it out."""
        return len(self.data) + sum(len(key) + len(value) for key, value in self.attributes.items())


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

    def __init__(self, policy: Policy, *, given_up: Callable[[Message, int], bool]) -> None:
        """Begin empty.

        Args:
            policy: how to deliver; ``ordered`` stays as it is.
            given_up: asked to take over a message that reached its last attempt, with the number of attempts. False
                if nobody can: then it is delivered again.
        """
        self.policy = policy
        self._given_up = given_up
        self._waiting: deque[_Entry] = deque()
        self._leases: dict[str, _Lease] = {}
        self._lease_ends: list[tuple[float, str]] = []  # a heap; of leases that moved on, the old ends remain in it
        self._backing_off: list[tuple[float, int, _Entry]] = []
        self._followers: dict[str, deque[_Entry]] = {}  # by ordering key: what comes after the one that is under way
        self._numbers = itertools.count(1)

    def add(self, message: Message) -> None:
        """Queue a message; one with an ordering key waits until those before it are done with."""
        entry = _Entry(message)
        key = self._key(entry)
        if key in self._followers:
            self._followers[key].append(entry)
            return
        if key:
            self._followers[key] = deque()
        self._waiting.append(entry)

    def take(self, most: int, now: float, *, deadline: float | None = None) -> list[Delivered]:
        """Lease the next messages, at most so many, for ``deadline`` seconds or as long as the policy says."""
        self._return_due(now)
        until = now + (self.policy.ack_deadline if deadline is None else deadline)
        taken: list[Delivered] = []
        size = 0
        while self._waiting and len(taken) < most:
            size += self._waiting[0].message.size
            if taken and size > MAX_TAKEN_BYTES:
                break
            entry = self._waiting.popleft()
            entry.attempt += 1
            ack_id = f"{entry.message.id}:{next(self._numbers)}"
            self._lease(ack_id, _Lease(entry, until))
            taken.append(Delivered(ack_id, entry.message, entry.attempt))
        return taken

    def acknowledge(self, ack_id: str) -> Message | None:
        """Be done with a delivery; the message, or None if its lease is over (it will come again)."""
        lease = self._leases.pop(ack_id, None)
        if lease is None:
            return None
        self._done(lease.entry)
        return lease.entry.message

    def modify_deadline(self, ack_id: str, seconds: float, now: float) -> bool:
        """Extend or shorten a lease; 0 is a nack. False if the lease is over."""
        lease = self._leases.get(ack_id)
        if lease is None:
            return False
        if seconds > 0:
            self._lease(ack_id, _Lease(lease.entry, now + seconds))
        else:
            self._fail(ack_id, now)
        return True

    def next_event(self) -> float | None:
        """When something comes due by itself: a lease that ends, a wait that is over."""
        while self._lease_ends and not self._holds(*self._lease_ends[0]):
            heapq.heappop(self._lease_ends)
        times = [heap[0][0] for heap in (self._lease_ends, self._backing_off) if heap]
        return min(times, default=None)

    @property
    def leases(self) -> AbstractSet[str]:
        """The ack ids of every delivery that is under way."""
        return self._leases.keys()

    @property
    def waiting(self) -> int:
        """Messages that could be delivered now, but for their ordering keys."""
        return len(self._waiting) + sum(map(len, self._followers.values()))

    @property
    def leased(self) -> int:
        """Messages that somebody has and has not acknowledged."""
        return len(self._leases)

    @property
    def backing_off(self) -> int:
        """Messages that wait before they are delivered again."""
        return len(self._backing_off)

    def unacknowledged(self) -> Iterator[Message]:
        """Every message that is still owed; those that share an ordering key in their order."""
        for entry in self._waiting:
            yield entry.message
        for lease in self._leases.values():
            yield lease.entry.message
        for _, _, entry in self._backing_off:
            yield entry.message
        for entry in itertools.chain.from_iterable(self._followers.values()):
            yield entry.message

    def _key(self, entry: _Entry) -> str:
        return entry.message.ordering_key if self.policy.ordered else ""

    def _lease(self, ack_id: str, lease: _Lease) -> None:
        self._leases[ack_id] = lease
        heapq.heappush(self._lease_ends, (lease.until, ack_id))

    def _holds(self, until: float, ack_id: str) -> bool:
        lease = self._leases.get(ack_id)
        return lease is not None and lease.until == until

    def _return_due(self, now: float) -> None:
        while self._lease_ends and self._lease_ends[0][0] <= now:
            until, ack_id = heapq.heappop(self._lease_ends)
            if self._holds(until, ack_id):
                self._fail(ack_id, now)
        while self._backing_off and self._backing_off[0][0] <= now:
            self._waiting.appendleft(heapq.heappop(self._backing_off)[2])

    def _done(self, entry: _Entry) -> None:
        """Let the next message of its ordering key follow."""
        key = self._key(entry)
        if not key:
            return
        if self._followers[key]:
            self._waiting.append(self._followers[key].popleft())
        else:
            del self._followers[key]

    def _fail(self, ack_id: str, now: float) -> None:
        """A delivery came to nothing: give the message up, or deliver it again after a while."""
        entry = self._leases.pop(ack_id).entry
        last = self.policy.max_attempts is not None and entry.attempt >= self.policy.max_attempts
        gone = False
        try:
            gone = last and self._given_up(entry.message, entry.attempt)
        finally:  # an error is no reason to lose it
            if gone:
                self._done(entry)
            else:
                self._put_back(entry, now)

    def _put_back(self, entry: _Entry, now: float) -> None:
        """Deliver it again after a while."""
        wait = min(
            self.policy.minimum_backoff * 2 ** min(entry.attempt - 1, MAX_DOUBLINGS), self.policy.maximum_backoff
        )
        if wait > 0:
            heapq.heappush(self._backing_off, (now + wait, next(self._numbers), entry))
        else:  # at the end, so that one message that always fails does not keep the others back
            self._waiting.append(entry)
