"""Plans the events of each order, with one anomaly in a share of the orders."""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import cycle
from uuid import NAMESPACE_URL, uuid5

import msgspec

from helios.model.sources import BUILT_IN, Source

from .anomalies import LOST, PLAIN, VARIED, Injection, Plain
from .poisons import PAYLOAD_POISONS, POISONS, Via
from .shop import CUSTOMERS, FOLLOW_UPS, LEGS, PROVIDER_LEGS, SOURCES, Order, Shop, to_json
from .varied import MOST_EVENTS, VariedEvent, events_of

ORDERS_PER_FOLLOW_UP = 3
"""Three orders are nine legs; with one follow-up on AWS that is 4 : 3 : 3."""

WEIGHTS: dict[Source, int] = {"aws": 4, "gcp": 3, "azure": 3, "stripe": 3, "shopify": 3}
"""Weights of the sources for anomalies: the same as for events, so that anomalies don't change the mix."""

_TYPES = LEGS | PROVIDER_LEGS
_ID_PREFIX: dict[Source, str] = {"stripe": "evt_"}

UNDELIVERED_SHARE = 0.75
"""The share of missing legs that are published and not delivered, if a run has such legs."""

WRONG_BY = tuple(Decimal(text) for text in ("0.50", "1.00", "9.99", "-0.25"))
"""The differences between a payment and its order; the cheapest order costs more than the largest of them."""


class Emission(msgspec.Struct, kw_only=True, eq=False):
    """One event, to be sent once.

    Attributes:
        source: the cloud or the provider that sends it.
        type: the event's type.
        id: the publisher's id. EventBridge assigns its own id to each event on a bus.
        order_id: the order that the event belongs to; empty for a manifest.
        data: the payload, JSON text unless the poison malforms it.
        due: when to send the event, in seconds since the run began.
        time: when the event happened, UTC.
        wait_until_due: True when the event must not be sent early, even when nothing else is due.
        poison: how the event is malformed, as a name in POISONS.
        original: the earlier event that this one repeats.
        injection: the anomaly that the event is part of.
        is_lost: whether the event is lost between its producer, which counts it, and Helios.
        is_undelivered: whether its cloud accepts the event, and does not deliver it.
    """

    source: Source
    type: str
    id: str
    order_id: str
    data: bytes
    due: float
    time: datetime
    wait_until_due: bool = False
    poison: str | None = None
    original: "Emission | None" = None
    injection: Injection | None = None
    is_lost: bool = False
    is_undelivered: bool = False

    @property
    def subject(self) -> str:
        """The subject of the event, as a path."""
        return f"orders/{self.order_id}" if self.order_id else "manifests"


class Planner:
    """Plans orders one by one; the same seed gives the same orders with the same anomalies."""

    def __init__(
        self,
        *,
        seed: int | None,
        start: datetime,
        via: Via,
        sources: Sequence[Source],
        error_rate: float,
        jitter: float,
        lateness: float,
        varied: float = 0.0,
        lost: bool = False,
        undelivered: str = "",
    ) -> None:
        """Build a planner.

        Args:
            seed: the seed of the random numbers; None for a different one each time.
            start: the instant at which the run begins, UTC.
            via: how the events are sent, which decides how they can be malformed.
            sources: the sources that take part.
            error_rate: the share of orders with an anomaly, 0 to 1.
            jitter: the longest time between an order and its other legs, in seconds.
            lateness: the delay of a late leg after its order, in seconds.
            varied: the share of orders in parcels, refunded, in instalments or in another currency, 0 to 1.
            lost: whether an anomaly may be that an order is lost in every cloud.
            undelivered: the field of the payload that marks events which the clouds do not deliver, as they are set up;
                empty if they deliver every event.
        """
        self._chance = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        self._shop = Shop(self._chance)
        self._start = start
        self._via = via
        self._sources = [source for source in SOURCES if source in sources]
        self._error_rate = error_rate
        self._jitter = jitter
        self._lateness = lateness
        self._varied = varied
        self._kinds = cycle(VARIED)
        self._undelivered = undelivered
        self._lost = lost and not set(BUILT_IN).isdisjoint(sources)
        self.orders = 0

    @property
    def most_events_of_an_order(self) -> int:
        """A leg of each source, one of them twice, and a follow-up; or the events of a varied order."""
        return max(len(self._sources) + 2, MOST_EVENTS if self._varied else 0)

    def order(self, at: float, *, horizon: float) -> tuple[list[Emission], Injection | None]:
        """The events of the next order, and its anomaly, if it has one.

        Args:
            at: when the order is placed, in seconds since the run began.
            horizon: when the run ends; no leg is planned after that.
        """
        if self._varied and self._chance.random() < self._varied:
            return self._varied_order(at)
        order, emissions = self._legs(at)
        if "aws" in self._sources and self.orders % ORDERS_PER_FOLLOW_UP == 0:
            follow_up = self._emission("aws", self._chance.choice(FOLLOW_UPS), order, at + self._jitter)
            emissions.append(follow_up)
        if self._chance.random() >= self._error_rate:
            return emissions, None
        return self._inject(order, emissions, allow_late=at + self._jitter + self._lateness < horizon)

    def fill(self, at: float, *, room: int) -> list[Emission]:
        """The events that still fit into the run: an order without anomaly or follow-up, or one follow-up."""
        if room >= len(self._sources):
            return self._legs(at)[1]
        if room >= 1 and "aws" in self._sources:
            order = self._shop.order(self._instant(at))
            return [self._emission("aws", self._chance.choice(FOLLOW_UPS), order, at)]
        return []

    def _varied_order(self, at: float) -> tuple[list[Emission], Injection | None]:
        """The events of the next varied order; the kinds take turns."""
        self.orders += 1
        kind, order = next(self._kinds), self._shop.order(self._instant(at))
        wrong_by = self._chance.choice(WRONG_BY) if self._chance.random() < self._error_rate else None
        events = events_of(kind, order, self._chance, wrong_by=wrong_by)
        places = [self._chance.random() if event.place is None else event.place for event in events]
        emissions = [
            self._varied_emission(event, order, at + place * self._jitter)
            for event, place in zip(events, places, strict=True)
        ]
        wrong = next((each for event, each in zip(events, emissions, strict=True) if event.is_wrong), None)
        if wrong is None:
            return emissions, None
        wrong.injection = Injection(order_id=order.order_id, anomaly=kind, source=wrong.source, type=wrong.type)
        return emissions, wrong.injection

    def _varied_emission(self, event: VariedEvent, order: Order, due: float) -> Emission:
        return Emission(
            source=event.source,
            type=event.type,
            id=str(uuid5(NAMESPACE_URL, f"{event.type}/{order.order_id}/{event.part}")),
            order_id=order.order_id,
            data=event.data,
            due=due,
            time=self._instant(due),
        )

    def _legs(self, at: float) -> tuple[Order, list[Emission]]:
        self.orders += 1
        order = self._shop.order(self._instant(at))
        delays = [0.0, *(self._chance.uniform(0, self._jitter) for _ in self._sources[1:])]
        self._chance.shuffle(delays)  # any cloud may be the first
        legs = zip(self._sources, delays, strict=True)
        return order, [self._emission(source, _TYPES[source], order, at + delay) for source, delay in legs]

    def _emission(self, source: Source, type_: str, order: Order, due: float) -> Emission:
        return Emission(
            source=source,
            type=type_,
            id=_ID_PREFIX.get(source, "") + str(uuid5(NAMESPACE_URL, f"{type_}/{order.order_id}")),
            order_id=order.order_id,
            data=to_json(self._shop.payload(type_, order)),
            due=due,
            time=self._instant(due),
        )

    def _instant(self, offset: float) -> datetime:
        return self._start + timedelta(seconds=offset)

    def _inject(self, order: Order, emissions: list[Emission], *, allow_late: bool) -> tuple[list[Emission], Injection]:
        """Inject one of the anomalies that are possible with these clouds and in this run."""
        possible = [kind for kind in PLAIN if self._possible(kind, allow_late=allow_late)]
        place = self._chance.randrange(len(possible) + self._lost)
        if place == len(possible):
            return emissions, self._lose(order, emissions)
        anomaly = possible[place]
        source: Source = "gcp" if anomaly == "mismatch" else self._affected()
        leg = next(emission for emission in emissions if emission.source == source)
        injection = Injection(order_id=order.order_id, anomaly=anomaly, source=source, type=leg.type)
        leg.injection = injection
        inject: dict[Plain, Callable[[Order, list[Emission], Emission], None]] = {
            "missing": self._missing,
            "late": self._late,
            "duplicate": self._duplicate,
            "contradictory": self._contradictory,
            "mismatch": self._mismatch,
            "poison": self._poison,
        }
        inject[anomaly](order, emissions, leg)
        return emissions, injection

    def _lose(self, order: Order, emissions: list[Emission]) -> Injection:
        """Lose every event of an order that a cloud should deliver. No other source has heard of the order."""
        emissions[:] = lost = [emission for emission in emissions if emission.source in BUILT_IN]
        injection = Injection(order_id=order.order_id, anomaly=LOST, source=lost[0].source, type=lost[0].type)
        injection.details["events"] = len(lost)
        for emission in lost:
            emission.is_lost, emission.injection = True, injection
        return injection

    def _possible(self, anomaly: Plain, *, allow_late: bool) -> bool:
        """Whether Helios can detect the anomaly: a single leg can't be missing, and a mismatch takes two legs."""
        match anomaly:
            case "missing":
                return len(self._sources) > 1
            case "late":
                return len(self._sources) > 1 and allow_late
            case "mismatch":
                return {"aws", "gcp"} <= set(self._sources)
            case _:
                return True

    def _affected(self) -> Source:
        return self._chance.choices(self._sources, weights=[WEIGHTS[source] for source in self._sources])[0]

    def _missing(self, _: Order, emissions: list[Emission], leg: Emission) -> None:
        if self._undelivered and leg.source in BUILT_IN and self._chance.random() < UNDELIVERED_SHARE:
            leg.data = b'%s,"%s":true}' % (leg.data[:-1], self._undelivered.encode())
            leg.is_undelivered = _details(leg)["undelivered"] = True
        else:
            emissions.remove(leg)

    def _late(self, _: Order, emissions: list[Emission], leg: Emission) -> None:
        others = [emission.due for emission in emissions if emission is not leg]
        leg.due = min(others) + self._lateness
        leg.wait_until_due = True
        _details(leg)["late_seconds"] = self._lateness

    def _duplicate(self, _: Order, emissions: list[Emission], leg: Emission) -> None:
        emissions.append(self._repeat(leg, leg.data))

    def _contradictory(self, order: Order, emissions: list[Emission], leg: Emission) -> None:
        """Repeat the leg with another customer: no flow compares customers, so no other anomaly appears."""
        other = self._chance.choice([customer for customer in CUSTOMERS if customer != order.customer_id])
        data = leg.data.replace(order.customer_id.encode(), other.encode())
        _details(leg).update({"field": "customer_id", "first": order.customer_id, "second": other})
        emissions.append(self._repeat(leg, data))

    def _repeat(self, leg: Emission, data: bytes) -> Emission:
        # EventBridge assigns a new id to each event, so the repetition has another id.
        _details(leg)["same_id"] = not (self._via == "cloud" and leg.source == "aws")
        due = leg.due + self._chance.uniform(self._jitter / 2, self._jitter)
        return msgspec.structs.replace(leg, data=data, due=due, original=leg)

    def _mismatch(self, order: Order, _: list[Emission], leg: Emission) -> None:
        paid = order.amount + self._chance.choice(WRONG_BY)
        leg.data = leg.data.replace(b'"amount":%s' % str(order.amount).encode(), b'"amount":%s' % str(paid).encode())
        _details(leg).update({"field": "amount", "ordered": str(order.amount), "paid": str(paid)})

    def _poison(self, _: Order, __: list[Emission], leg: Emission) -> None:
        leg.poison = self._chance.choice(POISONS[self._via][leg.source])
        if malform := PAYLOAD_POISONS.get(leg.poison):
            leg.data = malform(leg.data)
        _details(leg)["poison"] = leg.poison


def _details(leg: Emission) -> dict[str, object]:
    """The details of the anomaly that the leg is part of."""
    if leg.injection is None:
        raise AssertionError("only a leg that was chosen for an anomaly has details")
    return leg.injection.details
