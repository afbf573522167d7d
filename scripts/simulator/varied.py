"""Orders that ship in parcels, are refunded, are paid in instalments or in another currency, take steps, have readings.

Each kind has a flow of its own in ``local/stack/varied_orders.toml``, and one anomaly, which breaks a rule of it.
"""

import random
from collections.abc import Callable, Mapping
from decimal import ROUND_DOWN, Decimal
from typing import Final, NamedTuple

from helios.model.sources import Source
from helios.reconciliation.declaration import load
from local.stack.varied import VARIED_FLOWS

from .anomalies import Varied
from .shop import Order, to_json

MOST_EVENTS: Final = 5
"""An order in four instalments; one that is refunded in two parts has as many."""

_CENT: Final = Decimal("0.01")


class VariedEvent(NamedTuple):
    """One event of a varied order.

    Attributes:
        source: the cloud that sends it.
        type: the event's type.
        part: the place of the event among those of its type.
        data: the payload, JSON text.
        is_wrong: whether it makes the anomaly of the order.
        place: when it is sent, as a share of the time in which the order's events are; None: at any time.
    """

    source: Source
    type: str
    part: int
    data: bytes
    is_wrong: bool = False
    place: float | None = None


def events_of(kind: Varied, order: Order, chance: random.Random, *, wrong_by: Decimal | None) -> list[VariedEvent]:
    """The events of one order of a kind.

    Args:
        kind: the kind.
        order: the order.
        chance: the random numbers of the run.
        wrong_by: the difference that makes the anomaly; None for an order without one.
    """
    return _KINDS[kind](order, chance, wrong_by)


def _parcels(order: Order, chance: random.Random, wrong_by: Decimal | None) -> list[VariedEvent]:
    """The anomaly: the order announces a parcel that is never shipped."""
    parcels = chance.randint(2, 3)
    announced = parcels + (wrong_by is not None)
    placed = _placed(order) | {"parcels": announced, "quantity": 2 * parcels}
    shipped = [
        {"reference": order.order_id, "parcel": {"number": f"{order.order_id}/{number}"}, "quantity": 2}
        for number in range(parcels)
    ]
    return [
        VariedEvent("aws", "ParcelOrderPlaced", 0, to_json(placed), wrong_by is not None),
        *(VariedEvent("azure", "ParcelShipped", number, to_json(data)) for number, data in enumerate(shipped)),
    ]


def _refunds(order: Order, _: random.Random, wrong_by: Decimal | None) -> list[VariedEvent]:
    """The anomaly: the refunds do not add up to the payment."""
    first, second = _instalments(order.amount, 2)
    refunds = (first, second + (wrong_by or 0))
    known: dict[str, object] = {"order_id": order.order_id}
    return [
        VariedEvent("aws", "TrialOrderPlaced", 0, to_json(_placed(order))),
        VariedEvent("aws", "TrialOrderCancelled", 0, to_json(known)),
        VariedEvent("gcp", "TrialOrderPaid", 0, to_json(_placed(order))),
        *(
            VariedEvent(
                "gcp",
                "PaymentRefunded",
                number,
                to_json(known | {"refund_id": f"{order.order_id}/{number}", "amount": amount}),
                wrong_by is not None and number == 1,
            )
            for number, amount in enumerate(refunds)
        ),
    ]


def _in_instalments(order: Order, chance: random.Random, wrong_by: Decimal | None) -> list[VariedEvent]:
    """The anomaly: one instalment is too high or too low."""
    amounts = _instalments(order.amount, chance.randint(2, MOST_EVENTS - 1))
    amounts[0] += wrong_by or 0
    return [
        VariedEvent("aws", "InstalmentOrderPlaced", 0, to_json(_placed(order) | {"instalments": len(amounts)})),
        *(
            VariedEvent(
                "gcp",
                "InstalmentPaid",
                number,
                to_json({"order_id": order.order_id, "payment_id": f"{order.order_id}/{number}", "amount": amount}),
                wrong_by is not None and number == 0,
            )
            for number, amount in enumerate(amounts)
        ),
    ]


def _in_another_currency(order: Order, chance: random.Random, wrong_by: Decimal | None) -> list[VariedEvent]:
    """The anomaly: the amount was converted wrongly."""
    rate = chance.choice(_RATES)
    paid = (order.amount / Decimal(rate.rate)).quantize(_CENT) + (wrong_by or 0)
    # Both senders write currencies in their own way.
    payment = {"order_id": order.order_id, "amount": paid, "currency": rate.currency.lower()}
    return [
        VariedEvent("aws", "ForeignOrderPlaced", 0, to_json(_placed(order) | {"currency": rate.to})),
        VariedEvent("gcp", "ForeignOrderPaid", 0, to_json(payment), wrong_by is not None),
    ]


def _steps(order: Order, _: random.Random, wrong_by: Decimal | None) -> list[VariedEvent]:
    """The anomaly: the order is packed before it is paid."""
    is_wrong = wrong_by is not None
    known = to_json({"order_id": order.order_id})
    paid = VariedEvent("gcp", "StepPaid", 0, to_json(_placed(order)), place=float(is_wrong))
    packed = VariedEvent("azure", "StepPacked", 0, known, is_wrong, place=float(not is_wrong))
    return [packed, paid] if is_wrong else [paid, packed]


def _readings(order: Order, chance: random.Random, wrong_by: Decimal | None) -> list[VariedEvent]:
    """The anomaly: a reading of the cold chain, neither the first nor the last, is never sent."""
    last = chance.randint(3, MOST_EVENTS)
    absent = chance.randint(2, last - 1) if wrong_by is not None else None
    numbers = [number for number in range(1, last + 1) if number != absent]
    return [
        VariedEvent(
            "azure",
            "TemperatureRead",
            number,
            to_json({"order_id": order.order_id, "reading_id": f"{order.order_id}/{number}", "number": number}),
            absent is not None and number == last,
        )
        for number in numbers
    ]


_KINDS: Final[Mapping[Varied, Callable[[Order, random.Random, Decimal | None], list[VariedEvent]]]] = {
    "parcels": _parcels,
    "refunds": _refunds,
    "instalments": _in_instalments,
    "currencies": _in_another_currency,
    "steps": _steps,
    "readings": _readings,
}

_RATES: Final = load(str(VARIED_FLOWS))[0].rate


def _placed(order: Order) -> dict[str, object]:
    return {"order_id": order.order_id, "amount": order.amount, "currency": order.currency}


def _instalments(amount: Decimal, count: int) -> list[Decimal]:
    """Amounts that add up; the last one has the rest."""
    share = (amount / count).quantize(_CENT, ROUND_DOWN)
    return [*[share] * (count - 1), amount - share * (count - 1)]
