"""The messages of one subscription: waiting, leased until a deadline, backing off, redelivered or given up.

The caller passes the time, so that every rule can be tested without waiting.
"""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
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
        one_per_key: whether a delivery has only one message of an ordering key, as each push request has.
        matches: the filter.
    """

    ack_deadline: float
    minimum_backoff: float
    maximum_backoff: float
    max_attempts: int | None
    ordered: bool
    one_per_key: bool = False
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


class _Key:
    """The messages of one ordering key.

    Attributes:
        pending: the messages to deliver, in their order.
        leased: the delivered ones by ack id, in their order. No other is delivered until this is empty, so a later
            message can't overtake a failed one, whichever client receives it.
        due: when the first pending message may be redelivered; 0.0: at once.
    """

    def __init__(self) -> None:
        self.pending: deque[_Entry] = deque()
        self.leased: dict[str, _Entry] = {}
        self.due = 0.0


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
        self._waiting: deque[_Entry | _Key] = deque()  # a key stands for its pending messages
        self._leases: dict[str, _Lease] = {}
        self._lease_ends: list[tuple[float, str]] = []  # a heap; the old ends of extended leases remain in it
        self._backing_off: list[tuple[float, int, _Entry | _Key]] = []
        self._keys: dict[str, _Key] = {}
        self._numbers = itertools.count(1)

    def add(self, message: Message) -> None:
        """Queue a message, behind those with the same ordering key."""
        entry = _Entry(message)
        name = self._key_name(entry)
        if not name:
            self._waiting.append(entry)
        elif key := self._keys.get(name):
            key.pending.append(entry)
        else:
            key = self._keys[name] = _Key()
            key.pending.append(entry)
            self._waiting.append(key)

    def replace(self, messages: Iterable[Message]) -> None:
        """End every lease, and queue these messages instead of the present ones."""
        self._waiting.clear()
        self._leases.clear()
        self._backing_off.clear()
        self._keys.clear()
        for message in messages:
            self.add(message)

    def take(
        self, most: int, now: float, *, deadline: float | None = None, most_bytes: float = math.inf
    ) -> list[Delivered]:
        """Lease the next messages.

        Args:
            most: the largest number of messages.
            now: the time.
            deadline: the seconds of the leases; by default those of the policy.
            most_bytes: the largest size of all; the first message may be larger.
        """
        self._return_due(now)
        until = now + (self.policy.ack_deadline if deadline is None else deadline)
        left = min(most_bytes, MAX_TAKEN_BYTES)
        deliveries: list[Delivered] = []
        while self._waiting and len(deliveries) < most:
            head = self._waiting[0]
            entry = head.pending[0] if isinstance(head, _Key) else head
            left -= entry.message.size
            if deliveries and left < 0:
                break
            key = head if isinstance(head, _Key) else None
            deliveries.append(self._deliver(entry, until, key))
            if key is None or not key.pending or self.policy.one_per_key:
                self._waiting.popleft()
        if self._waiting and isinstance(head := self._waiting[0], _Key) and head.leased:
            self._waiting.popleft()  # the rest of this key is queued again when these messages are acknowledged
        return deliveries

    def _deliver(self, entry: _Entry, until: float, key: _Key | None) -> Delivered:
        entry.attempt += 1
        ack_id = f"{entry.message.id}:{next(self._numbers)}"
        self._lease(ack_id, _Lease(entry, until))
        if key:
            key.leased[ack_id] = key.pending.popleft()
        return Delivered(ack_id, entry.message, entry.attempt)

    def acknowledge(self, ack_id: str) -> Message | None:
        """Acknowledge a delivery; returns its message, or None if the lease has expired (it is redelivered)."""
        lease = self._leases.pop(ack_id, None)
        if lease is None:
            return None
        self._done(ack_id, lease.entry)
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
        unordered = sum(not isinstance(head, _Key) for head in self._waiting)
        ordered = sum(len(key.pending) for key in self._keys.values())
        return unordered + ordered - sum(isinstance(head, _Key) for _, _, head in self._backing_off)

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
        unordered = itertools.chain(
            self._waiting, (lease.entry for lease in self._leases.values()), (head for _, _, head in self._backing_off)
        )
        for entry in unordered:
            if not isinstance(entry, _Key) and not self._key_name(entry):
                yield entry.message
        for key in self._keys.values():
            for entry in (*key.leased.values(), *key.pending):
                yield entry.message

    def _key_name(self, entry: _Entry) -> str:
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

    def _done(self, ack_id: str, entry: _Entry) -> None:
        """Forget a message, and queue the next ones of the same ordering key."""
        if name := self._key_name(entry):
            key = self._keys[name]
            del key.leased[ack_id]
            self._release(name, key)

    def _fail(self, ack_id: str, now: float) -> None:
        """End a failed delivery: give the message up after its last attempt, or redeliver it later."""
        entry = self._leases.pop(ack_id).entry
        last = self.policy.max_attempts is not None and entry.attempt >= self.policy.max_attempts
        moved = False
        try:
            moved = last and self._give_up(entry.message, entry.attempt)
        finally:  # an error must not lose the message
            if moved:
                self._done(ack_id, entry)
            else:
                self._put_back(ack_id, entry, now)

    def _put_back(self, ack_id: str, entry: _Entry, now: float) -> None:
        """Redeliver the message after the backoff."""
        wait = min(
            self.policy.minimum_backoff * 2 ** min(entry.attempt - 1, MAX_DOUBLINGS), self.policy.maximum_backoff
        )
        if name := self._key_name(entry):
            self._put_back_in_order(name, ack_id, now + wait if wait > 0 else 0.0)
        elif wait > 0:
            heapq.heappush(self._backing_off, (now + wait, next(self._numbers), entry))
        else:  # at the end, so that a message that always fails does not block the others
            self._waiting.append(entry)

    def _put_back_in_order(self, name: str, ack_id: str, due: float) -> None:
        """Redeliver the message and the later ones of its key, whose leases end: they were delivered too early."""
        key = self._keys[name]
        ids = list(key.leased)
        failed = ids[ids.index(ack_id) :]
        for later in failed[1:]:
            self._leases.pop(later, None)
            key.leased[later].attempt -= 1  # its delivery did not fail
        key.pending.extendleft(key.leased.pop(later) for later in reversed(failed))
        key.due = due
        self._release(name, key)

    def _release(self, name: str, key: _Key) -> None:
        """Queue the pending messages of a key once none of its messages is leased."""
        if key.leased:
            return
        if not key.pending:
            del self._keys[name]
        elif key.due:
            heapq.heappush(self._backing_off, (key.due, next(self._numbers), key))
            key.due = 0.0
        else:  # at the end, so that one key does not block the others
            self._waiting.append(key)
