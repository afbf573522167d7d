"""Numbered orders: the requests that are sent during a fault, and the verdict that each order must get."""

import random
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import NAMESPACE_URL, uuid5

import msgspec
from msgspec import Raw

from helios.model.events import Key
from helios.model.flows import FlowStatus
from helios.model.sources import Source
from scripts.simulator import envelopes
from scripts.simulator.plan import Emission
from scripts.simulator.shop import LEGS as CLOUD_LEGS

FLOW: Final = "fault"
LEGS: Final[Mapping[Source, str]] = {"aws": "FaultPlaced", "gcp": "FaultPaid", "azure": "FaultReserved"}
"""Separate event types, so that the counts distinguish deliveries at the webhooks from those that clouds repeat."""

BATCH_PATH: Final = "/api/v1/webhooks/cloudevents"
BATCH_HEADERS: Final = {"content-type": "application/cloudevents-batch+json"}
SINGLE_HEADERS: Final = {"content-type": "application/json"}

_PRODUCER: Final = f"//{envelopes.EVENT_SOURCE}"
_SINGLE_SHARE: Final = 0.1
_LOCAL_DISORDER: Final = 30
"""Legs move by up to this many orders in either direction, even without ``shuffled``."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The traffic during a fault.

    Attributes:
        events: distinct events for the webhooks, three per order.
        rate: deliveries per second.
        copies: how often each event is delivered.
        redelivered: share of the events that are delivered once more.
        poison: share of the deliveries that are poison messages, which Helios can't read.
        skew: largest error of the clouds' clocks in seconds, in either direction.
        shuffled: whether the deliveries are sent in random order.
        batch: events in one request; a tenth of the events are sent in single requests.
        cloud_orders: additional orders that are published to the three clouds through their SDKs.
        faulty: share of the orders that lack a leg or have a wrong payment.
    """

    events: int
    rate: float = 400.0
    copies: int = 1
    redelivered: float = 0.02
    poison: float = 0.01
    skew: float = 0.0
    shuffled: bool = False
    batch: int = 20
    cloud_orders: int = 0
    faulty: float = 0.06


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One POST.

    Attributes:
        path: the path of the URL.
        headers: the request's headers, without credentials.
        body: the request's body.
        keys: the identity of the event in each element; None for a poison message.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes
    keys: Sequence[Key | None]


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """The traffic of one phase.

    Attributes:
        prefix: how each order's id begins, and no other's.
        requests: to the webhooks, in order.
        poison: the mark of each delivery that nobody can read.
        statuses: the verdict that each order must get.
        published: to the clouds, by source, in order.
    """

    prefix: str
    requests: list[Request]
    poison: set[str]
    statuses: dict[str, FlowStatus]
    published: dict[Source, list[Emission]]

    @property
    def deliveries(self) -> int:
        """How many events and poison the requests hold."""
        return sum(len(request.keys) for request in self.requests)


def orders(load: Load, *, prefix: str, seed: int, clouds: Collection[Source]) -> Orders:
    """The orders of a phase; the same arguments give the same orders.

    Args:
        load: the traffic to generate.
        prefix: the prefix of each order's id.
        seed: the seed of the random numbers.
        clouds: the clouds that run; unless all three do, their orders stay open.
    """
    chance = random.Random(f"{seed}-{prefix}")  # noqa: S311 - a reproducible fault, no secret
    legs: list[Emission] = []
    statuses: dict[str, FlowStatus] = {}
    for number in range(load.events // 3):
        order_id = f"{prefix}{number:06}"
        order_legs, statuses[order_id] = _order(order_id, chance, load, LEGS)
        legs += order_legs
    deliveries = [leg for leg in legs for _ in range(load.copies)]
    deliveries += [leg for leg in legs if chance.random() < load.redelivered]
    place = {id(leg): index for index, leg in enumerate(legs)}
    reach = len(legs) if load.shuffled else 3 * _LOCAL_DISORDER
    deliveries.sort(key=lambda leg: place[id(leg)] + chance.uniform(-reach, reach))
    poison = [f"{prefix}POISON-{number:06}" for number in range(round(load.poison * len(deliveries)))]
    published: dict[Source, list[Emission]] = {"aws": [], "gcp": [], "azure": []}
    for number in range(load.cloud_orders):
        order_id = f"{prefix}C{number:05}"
        order_legs, status = _order(order_id, chance, load, CLOUD_LEGS)
        reachable = [leg for leg in order_legs if leg.source in clouds]
        statuses[order_id] = status if len(reachable) == len(order_legs) else "open"
        for leg in reachable:
            published[leg.source].append(leg)
    return Orders(
        prefix=prefix,
        requests=_requests(deliveries, poison, load.batch, chance),
        poison=set(poison),
        statuses=statuses,
        published=published,
    )


def _order(
    order_id: str, chance: random.Random, load: Load, types: Mapping[Source, str]
) -> tuple[list[Emission], FlowStatus]:
    """The legs of an order and its verdict: some orders lack a leg, and some have a wrong payment."""
    amount, quantity = chance.randrange(100, 100_000), chance.randint(1, 9)
    status: FlowStatus = "matched"
    if chance.random() < load.faulty:
        status = chance.choice(("mismatched", "open"))
    missing = chance.choice(tuple(types)) if status == "open" else None
    paid = amount + (100 if status == "mismatched" else 0)
    fields: dict[Source, dict[str, object]] = {
        "aws": {"amount": _money(amount), "currency": "EUR", "quantity": quantity},
        "gcp": {"amount": _money(paid), "currency": "EUR"},
        "azure": {"quantity": quantity},
    }
    legs = [
        Emission(
            source=source,
            type=type_,
            id=str(uuid5(NAMESPACE_URL, f"{order_id}/{source}/{chance.random()}")),
            order_id=order_id,
            data=msgspec.json.encode({"order_id": order_id} | fields[source]),
            due=0.0,
            time=datetime.now(UTC) + timedelta(seconds=chance.uniform(-load.skew, load.skew)),
        )
        for source, type_ in types.items()
        if source != missing
    ]
    return legs, status


def _money(cents: int) -> Raw:
    return Raw(b"%d.%02d" % divmod(cents, 100))


def _requests(deliveries: Sequence[Emission], poison: Sequence[str], size: int, chance: random.Random) -> list[Request]:
    """Most deliveries in batches of CloudEvents; one event in ten, with its duplicates, at its cloud's own webhook."""
    is_single: dict[str, bool] = {}
    elements: list[Emission | str] = list(deliveries)
    for mark in poison:
        elements.insert(chance.randint(0, len(elements)), mark)
    requests: list[Request] = []
    batch: list[Emission | str] = []
    for element in elements:
        if isinstance(element, Emission) and is_single.setdefault(element.id, chance.random() < _SINGLE_SHARE):
            requests.append(_single(element))
            continue
        batch.append(element)
        if len(batch) == size:
            requests.append(_batch(batch))
            batch = []
    return [*requests, _batch(batch)] if batch else requests


def _single(leg: Emission) -> Request:
    key = (leg.source, envelopes.PRODUCERS[leg.source], leg.id)
    return Request(path=envelopes.PATHS[leg.source], headers=SINGLE_HEADERS, body=envelopes.body(leg), keys=[key])


def _batch(elements: Sequence[Emission | str]) -> Request:
    keys = [(element.source, _PRODUCER, element.id) if isinstance(element, Emission) else None for element in elements]
    body = msgspec.json.encode([_cloudevent(element) for element in elements])
    return Request(path=BATCH_PATH, headers=BATCH_HEADERS, body=body, keys=keys)


def _cloudevent(element: Emission | str) -> dict[str, object]:
    """An element of a batch; a poison message has no id."""
    if isinstance(element, str):
        return {"specversion": "1.0", "source": _PRODUCER, "type": element}
    return {
        "specversion": "1.0",
        "id": element.id,
        "source": _PRODUCER,
        "cloud": element.source,
        "type": element.type,
        "subject": element.subject,
        "time": envelopes.timestamp(element.time),
        "data": Raw(element.data),
    }
