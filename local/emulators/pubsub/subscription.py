"""The messages of one subscription: waiting, leased until a deadline, backing off, redelivered or given up.

The caller passes the time, so that every rule can be tested without waiting.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from local.emulators.pubsub.filters import Filter

MAX_TAKEN_BYTES = 10_000_000
"""Most bytes in one delivery, unless one message is larger, as clients limit the size of a response."""

MAX_DOUBLINGS = 30
"""Bounds the exponent, as the number of attempts is not limited: far above any maximum wait, and safe for a float."""

DEFAULT_ATTEMPTS = 5
"""Pub/Sub documentation, "Handle message failures": the default of max_delivery_attempts."""


class Message(msgspec.Struct, frozen=True):
    """A published message.

    Attributes:
        id: assigned by the server, unique in the topic.
        data: the payload.
        attributes: the publisher's attributes.
        ordering_key: messages with the same key are delivered in order, if the subscription enables ordering.
        published: the time of publication in seconds since the epoch.
    """

    id: str
    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str
    published: float

    @property
    def size(self) -> int:
        """The approximate size of the message in a response, in bytes."""
        return len(self.data) + sum(len(key) + len(value) for key, value in self.attributes.items())


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The delivery settings of a subscription; times in seconds.

    Attributes:
        ack_deadline: how long a delivered message is leased.
        minimum_backoff: the wait before the first redelivery after a nack or an expired lease; doubles each time.
        maximum_backoff: the longest such wait.
        max_attempts: the number of deliveries before a message is given up; None without a dead-letter topic.
        ordered: whether ordering keys have an effect.
        matches: the filter.
    """

    ack_deadline: float
    minimum_backoff: float
    maximum_backoff: float
    max_attempts: int | None
    ordered: bool
    matches: Filter


class Delivered(msgspec.Struct, frozen=True):
    """One delivery of a message.

    Attributes:
        ack_id: identifies this delivery.
        message: the published message.
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

    def __init__(self, policy: Policy, *, give_up: Callable[[Message, int], bool]) -> None:
        """Start without messages.

        Args:
            policy: how to deliver; ``ordered`` never changes.
            give_up: called with a message after its last attempt, and the number of attempts. Returns whether the
                message was moved elsewhere; if not, the message is delivered again.
        """
        self.policy = policy
        self._give_up = give_up
        self._waiting: deque[_Entry] = deque()
        self._leases: dict[str, _Lease] = {}
        self._lease_ends: list[tuple[float, str]] = []  # a heap; the old ends of extended leases remain in it
        self._backing_off: list[tuple[float, int, _Entry]] = []
        self._followers: dict[str, deque[_Entry]] = {}  # by ordering key: the messages behind the one in flight
        self._numbers = itertools.count(1)

    def add(self, message: Message) -> None:
        """Queue a message; one with an ordering key waits until those before it are acknowledged or given up."""
        entry = _Entry(message)
        key = self._key(entry)
        if key in self._followers:
            self._followers[key].append(entry)
            return
        if key:
            self._followers[key] = deque()
        self._waiting.append(entry)

    def take(self, most: int, now: float, *, deadline: float | None = None) -> list[Delivered]:
        """Lease the next messages, at most ``most``, for ``deadline`` seconds or by default the policy's deadline."""
        self._return_due(now)
        until = now + (self.policy.ack_deadline if deadline is None else deadline)
        deliveries: list[Delivered] = []
        size = 0
        while self._waiting and len(deliveries) < most:
            size += self._waiting[0].message.size
            if deliveries and size > MAX_TAKEN_BYTES:
                break
            entry = self._waiting.popleft()
            entry.attempt += 1
            ack_id = f"{entry.message.id}:{next(self._numbers)}"
            self._lease(ack_id, _Lease(entry, until))
            deliveries.append(Delivered(ack_id, entry.message, entry.attempt))
        return deliveries

    def acknowledge(self, ack_id: str) -> Message | None:
        """Acknowledge a delivery; returns its message, or None if the lease has expired (it is redelivered)."""
        lease = self._leases.pop(ack_id, None)
        if lease is None:
            return None
        self._done(lease.entry)
        return lease.entry.message

    def modify_deadline(self, ack_id: str, seconds: float, now: float) -> bool:
        """Extend or shorten a lease; 0 is a nack. Returns False if the lease has expired."""
        lease = self._leases.get(ack_id)
        if lease is None:
            return False
        if seconds > 0:
            self._lease(ack_id, _Lease(lease.entry, now + seconds))
        else:
            self._fail(ack_id, now)
        return True

    def next_event(self) -> float | None:
        """The time of the next expiry of a lease or end of a wait; None if there is neither."""
        while self._lease_ends and not self._holds(*self._lease_ends[0]):
            heapq.heappop(self._lease_ends)
        times = [heap[0][0] for heap in (self._lease_ends, self._backing_off) if heap]
        return min(times, default=None)

    @property
    def leases(self) -> AbstractSet[str]:
        """The ack ids of all leased deliveries."""
        return self._leases.keys()

    @property
    def waiting(self) -> int:
        """The number of messages that are not leased and not backing off, those behind an ordering key included."""
        return len(self._waiting) + sum(map(len, self._followers.values()))

    @property
    def leased(self) -> int:
        """The number of delivered messages that are not acknowledged."""
        return len(self._leases)

    @property
    def backing_off(self) -> int:
        """The number of messages that wait for their redelivery."""
        return len(self._backing_off)

    def unacknowledged(self) -> Iterator[Message]:
        """Every unacknowledged message; those with the same ordering key in their order."""
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
        """Release the next message of the same ordering key."""
        key = self._key(entry)
        if not key:
            return
        if self._followers[key]:
            self._waiting.append(self._followers[key].popleft())
        else:
            del self._followers[key]

    def _fail(self, ack_id: str, now: float) -> None:
        """End a failed delivery: give the message up after its last attempt, or redeliver it later."""
        entry = self._leases.pop(ack_id).entry
        last = self.policy.max_attempts is not None and entry.attempt >= self.policy.max_attempts
        moved = False
        try:
            moved = last and self._give_up(entry.message, entry.attempt)
        finally:  # an error must not lose the message
            if moved:
                self._done(entry)
            else:
                self._put_back(entry, now)

    def _put_back(self, entry: _Entry, now: float) -> None:
        """Redeliver the message after the backoff."""
        wait = min(
            self.policy.minimum_backoff * 2 ** min(entry.attempt - 1, MAX_DOUBLINGS), self.policy.maximum_backoff
        )
        if wait > 0:
            heapq.heappush(self._backing_off, (now + wait, next(self._numbers), entry))
        else:  # at the end, so that a message that always fails does not block the others
            self._waiting.append(entry)
