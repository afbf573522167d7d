"""Numbered orders: what is sent during a fault, request by request, and what must be said of each order."""

import random
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import NAMESPACE_URL, uuid5

import msgspec
from msgspec import Raw

from helios.model.events import Source
from helios.model.flows import FlowStatus
from scripts.simulator import envelopes
from scripts.simulator.plan import Emission
from scripts.simulator.shop import LEGS as CLOUD_LEGS

FLOW: Final = "fault"
LEGS: Final[Mapping[Source, str]] = {"aws": "FaultPlaced", "gcp": "FaultPaid", "azure": "FaultReserved"}
"""Event types of their own, so that the ledger tells deliveries at the webhooks from those that clouds repeat."""

BATCH_PATH: Final = "/api/v1/webhooks/cloudevents"
BATCH_HEADERS: Final = {"content-type": "application/cloudevents-batch+json"}
SINGLE_HEADERS: Final = {"content-type": "application/json"}

_ALONE: Final = 0.1
_LOCAL_DISORDER: Final = 30
"""Legs change places with those of so many orders before and after, even where nothing is shuffled."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent while a fault lasts.

    Attributes:
        events: different events that are sent to the webhooks, three an order.
        rate: deliveries per second.
        copies: how often each event is delivered.
        again: share of the events that are delivered once more.
        poison: share of the deliveries that nobody can read.
        skew: by how many seconds at most the clouds' clocks are wrong, either way.
        shuffled: whether the deliveries come in any order.
        batch: events in one request; a tenth of the events come one by one.
        cloud_orders: orders that are published on the three clouds besides, through their SDKs.
        flawed: share of the orders that lack a leg or are paid wrongly.
    """

    events: int
    rate: float = 400.0
    copies: int = 1
    again: float = 0.02
    poison: float = 0.01
    skew: float = 0.0
    shuffled: bool = False
    batch: int = 20
    cloud_orders: int = 0
    flawed: float = 0.06


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One POST.

    Attributes:
        path: where to.
        headers: what of.
        body: what.
        keys: the event in each element, as (source, id); None: poison.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes
    keys: Sequence[tuple[Source, str] | None]


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one phase sends.

    Attributes:
        prefix: how each order's id begins, and no other's.
        requests: to the webhooks, in order.
        poison: the mark of each delivery that nobody can read.
        statuses: what must be said of each order.
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
    """What a phase sends; the same arguments give the same.

    Args:
        load: how much of what.
        prefix: how each order's id is to begin.
        seed: the chance in it.
        clouds: those that can be published to; without all three of them their orders stay open.
    """
    chance = random.Random(f"{seed}-{prefix}")  # noqa: S311 - a reproducible fault, no secret
    legs: list[Emission] = []
    statuses: dict[str, FlowStatus] = {}
    for number in range(load.events // 3):
        order_id = f"{prefix}{number:06}"
        told, statuses[order_id] = _order(order_id, chance, load, LEGS)
        legs += told
    deliveries = [leg for leg in legs for _ in range(load.copies)]
    deliveries += [leg for leg in legs if chance.random() < load.again]
    place = {id(leg): index for index, leg in enumerate(legs)}
    reach = len(legs) if load.shuffled else 3 * _LOCAL_DISORDER
    deliveries.sort(key=lambda leg: place[id(leg)] + chance.uniform(-reach, reach))
    poison = [f"{prefix}POISON-{number:06}" for number in range(round(load.poison * len(deliveries)))]
    published: dict[Source, list[Emission]] = {"aws": [], "gcp": [], "azure": []}
    for number in range(load.cloud_orders):
        order_id = f"{prefix}C{number:05}"
        told, status = _order(order_id, chance, load, CLOUD_LEGS)
        reachable = [leg for leg in told if leg.source in clouds]
        statuses[order_id] = status if len(reachable) == len(told) else "open"
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
    """The legs of an order, and its verdict: some lack a leg, and some are paid wrongly."""
    amount, quantity = chance.randrange(100, 100_000), chance.randint(1, 9)
    status: FlowStatus = "matched"
    if chance.random() < load.flawed:
        status = chance.choice(("mismatched", "open"))
    missing = chance.choice(tuple(types)) if status == "open" else None
    paid = amount + (100 if status == "mismatched" else 0)
    say: dict[Source, dict[str, object]] = {
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
            data=msgspec.json.encode({"order_id": order_id} | say[source]),
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
    """Most deliveries in batches of CloudEvents; one event in ten, and its repetitions, at its cloud's own webhook."""
    alone: dict[str, bool] = {}
    elements: list[Emission | str] = list(deliveries)
    for mark in poison:
        elements.insert(chance.randint(0, len(elements)), mark)
    requests: list[Request] = []
    batch: list[Emission | str] = []
    for element in elements:
        if isinstance(element, Emission) and alone.setdefault(element.id, chance.random() < _ALONE):
            requests.append(_single(element))
            continue
        batch.append(element)
        if len(batch) == size:
            requests.append(_batch(batch))
            batch = []
    return [*requests, _batch(batch)] if batch else requests


def _single(leg: Emission) -> Request:
    path = envelopes.PATHS[leg.source]
    return Request(path=path, headers=SINGLE_HEADERS, body=envelopes.body(leg), keys=[(leg.source, leg.id)])


def _batch(elements: Sequence[Emission | str]) -> Request:
    keys = [(one.source, one.id) if isinstance(one, Emission) else None for one in elements]
    body = msgspec.json.encode([_cloudevent(one) for one in elements])
    return Request(path=BATCH_PATH, headers=BATCH_HEADERS, body=body, keys=keys)


def _cloudevent(element: Emission | str) -> dict[str, object]:
    """An element of a batch; poison has no id."""
    if isinstance(element, str):
        return {"specversion": "1.0", "source": f"//{envelopes.EVENT_SOURCE}", "type": element}
    return {
        "specversion": "1.0",
        "id": element.id,
        "source": f"//{envelopes.EVENT_SOURCE}",
        "cloud": element.source,
        "type": element.type,
        "subject": element.subject,
        "time": envelopes.timestamp(element.time),
        "data": Raw(element.data),
    }
