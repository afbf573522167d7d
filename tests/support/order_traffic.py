"""Orders through the functions of three clouds, which redeliver what was not acknowledged, as queues do."""

import json
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import NamedTuple, Self

from tests.support.envelopes import eventbridge_event, eventgrid_event, pubsub_message, pubsub_push, sqs_event
from tests.support.releases import Server

CLOUDS = ("helios_aws", "helios_gcp", "helios_azure")
BATCH = 5
"""The messages of SQS in one call; the other clouds deliver each event alone."""
ATTEMPTS = 3
"""How often each delivery is tried at the end, with nothing else in the way."""
REPEATED = 3
"""Of each third order, every acknowledged delivery comes again, to another version: clouds deliver at least once."""


class Delivery(NamedTuple):
    """What one call passes to a function.

    Attributes:
        role: the role of the function.
        events: the ids of its events.
        body: what the cloud passes on.
        repeated: whether it was acknowledged before.
    """

    role: str
    events: tuple[str, ...]
    body: bytes
    repeated: bool = False


class Refusal(NamedTuple):
    """A delivery that a version did not acknowledge."""

    version: str
    reason: str


class Traffic:
    """Sends orders without a pause while the block runs, and drains what waits at its end.

    Attributes:
        sent: the id of every event that was published.
        repeats: how many events came again after they were acknowledged.
        attempts: how many deliveries were tried.
        acknowledged: the events that each version acknowledged.
        refused: the deliveries that came again because a version did not acknowledge them.
    """

    def __init__(self, versions: Mapping[str, Mapping[str, Server]]) -> None:
        """Take the functions of each version."""
        self.sent: set[str] = set()
        self.repeats = 0
        self.attempts = 0
        self.acknowledged: Counter[str] = Counter()
        self.refused: list[Refusal] = []
        self._versions = dict(versions)
        self._turns = count()
        self._waiting: deque[Delivery] = deque()
        self._orders = count(1)
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if failed:
            return
        if self._errors:
            raise self._errors[0]
        self.drain()

    def use(self, versions: Mapping[str, Mapping[str, Server]]) -> None:
        """Let these versions take the calls in turn, from the next call on."""
        with self._changed:
            self._versions = dict(versions)

    def await_events(self, number: int, *, of: str, seconds: float = 60) -> None:
        """Return once this version has acknowledged this number of further events."""
        with self._changed:
            wanted = self.acknowledged[of] + number
            assert self._changed.wait_for(
                lambda: self.acknowledged[of] >= wanted or bool(self._errors), timeout=seconds
            ), f"{of} acknowledged {self.acknowledged[of]} events, not {wanted}: {self.refused[-3:]}"

    def await_attempts(self, number: int, *, seconds: float = 60) -> None:
        """Return once this number of further deliveries was tried, whether acknowledged or not."""
        with self._changed:
            wanted = self.attempts + number
            assert self._changed.wait_for(lambda: self.attempts >= wanted or bool(self._errors), timeout=seconds), (
                f"{self.attempts} attempts were made, not {wanted}"
            )

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self.publish()
        except BaseException as error:
            with self._changed:
                self._errors.append(error)
                self._changed.notify_all()
            raise

    def publish(self) -> None:
        """Publish a batch of orders, and deliver what waits for another attempt, once each."""
        deliveries = list(_deliveries([next(self._orders) for _ in range(BATCH)]))
        self.sent.update(event for delivery in deliveries for event in delivery.events)
        waiting = [self._waiting.popleft() for _ in range(min(len(self._waiting), 4 * BATCH))]
        for delivery in [*waiting, *deliveries]:
            self._deliver(delivery)

    def drain(self) -> None:
        """Deliver again what waits, until nothing does, or until ``ATTEMPTS`` rounds in a row were refused."""
        refused = 0
        while self._waiting and refused < ATTEMPTS * len(self._waiting):
            refused = 0 if self._deliver(self._waiting.popleft()) else refused + 1

    def _deliver(self, delivery: Delivery) -> bool:
        """Deliver once; whether it was acknowledged."""
        with self._changed:
            names = list(self._versions)
            version = names[next(self._turns) % len(names)]
            server = self._versions[version][delivery.role]
        answer = server.call("ingest", delivery.body)
        with self._changed:
            self.attempts += 1
            if not answer.acknowledged:
                self.refused.append(Refusal(version, str(answer.content)))
                self._waiting.append(delivery)
            else:
                self.acknowledged[version] += len(delivery.events)
                if delivery.repeated:
                    self.repeats += len(delivery.events)
                elif _comes_again(delivery):
                    self._waiting.append(delivery._replace(repeated=True))
            self._changed.notify_all()
        return answer.acknowledged


def _comes_again(delivery: Delivery) -> bool:
    return int(delivery.events[0].rpartition("-")[2]) % REPEATED == 0


def _deliveries(numbers: Iterable[int]) -> Iterable[Delivery]:
    """The deliveries of these orders: one of AWS, and one for each order of the others."""
    numbers, now = list(numbers), datetime.now(UTC).isoformat()
    placed = [
        eventbridge_event(f"aws-{number}", time=now, detail=_order(number, currency="EUR", quantity=2, amount=10.5))
        for number in numbers
    ]
    bodies = [json.dumps(event).encode() for event in placed]
    ids = tuple(event["id"] for event in placed)
    yield Delivery("helios_aws", ids, json.dumps(sqs_event(*bodies)).encode())
    for number in numbers:
        paid = json.dumps(_order(number, currency="EUR", amount=10.5)).encode()
        attributes = {"event_type": "PaymentProcessed"}
        message = pubsub_message(f"gcp-{number}", paid, publishTime=now, attributes=attributes)
        yield Delivery("helios_gcp", (f"gcp-{number}",), json.dumps(pubsub_push(message)).encode())
        reserved = eventgrid_event(f"azure-{number}", eventTime=now, data=_order(number, quantity=2))
        yield Delivery("helios_azure", (f"azure-{number}",), json.dumps(reserved).encode())


def _order(number: int, **fields: object) -> dict[str, object]:
    return {"order_id": f"ORD-{number}", "customer_id": f"CUST-{number % 7}", **fields}
