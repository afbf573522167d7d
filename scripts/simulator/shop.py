"""The shop: its customers, products and orders, and each cloud's payload for an order."""

import random
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import msgspec

from helios.model.sources import Source

CUSTOMERS = tuple(f"CUST-{number:04}" for number in range(1, 101))
CURRENCIES = ("USD", "EUR", "GBP")
CARRIERS = ("DHL", "FedEx", "UPS")
WAREHOUSES = ("AMS-1", "DFW-2", "SIN-1")
METHODS = ("card", "paypal", "bank_transfer")
FOLLOW_UPS = ("OrderShipped", "OrderDelivered", "OrderReviewed")
"""Types of later events of an order, which only AWS publishes."""

LEGS: dict[Source, str] = {"aws": "OrderPlaced", "gcp": "PaymentProcessed", "azure": "InventoryReserved"}
"""The type of each cloud's leg of an order."""

PROVIDER_LEGS: dict[Source, str] = {"stripe": "payment_intent.succeeded", "shopify": "fulfillments/create"}
"""The type of the leg of each provider outside the clouds."""

SOURCES: tuple[Source, ...] = (*LEGS, *PROVIDER_LEGS)
"""Every source of the shop, in the order in which a run takes them."""


class Product(NamedTuple):
    """A product; the price is the same number in every currency."""

    sku: str
    name: str
    price: Decimal


PRODUCTS = tuple(
    Product(sku, name, Decimal(price))
    for sku, name, price in (
        ("AUD-100", "Wireless headphones", "129.99"),
        ("AUD-210", "Bookshelf speaker", "249.00"),
        ("CAM-330", "Action camera", "319.50"),
        ("CBL-001", "USB-C cable, 2 m", "12.95"),
        ("CHR-065", "65 W charger", "44.90"),
        ("DSK-500", "Standing desk", "589.00"),
        ("KEY-087", "Mechanical keyboard", "109.00"),
        ("LMP-020", "Desk lamp", "39.95"),
        ("MON-270", "27-inch monitor", "379.99"),
        ("MOU-015", "Vertical mouse", "59.49"),
        ("NAS-204", "Two-bay NAS", "299.00"),
        ("SSD-002", "2 TB solid-state drive", "149.95"),
    )
)


class Line(NamedTuple):
    """A quantity of one product."""

    product: Product
    quantity: int


class Order(NamedTuple):
    """An order; ``amount`` is the sum of its lines."""

    order_id: str
    customer_id: str
    currency: str
    lines: tuple[Line, ...]

    @property
    def amount(self) -> Decimal:
        """The price of all lines, with two decimal places."""
        return sum((line.product.price * line.quantity for line in self.lines), Decimal("0.00"))

    @property
    def quantity(self) -> int:
        """The number of items of all lines."""
        return sum(line.quantity for line in self.lines)


class Shop:
    """Generates orders; the same random numbers and instants give the same orders."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._number = chance.randrange(10_000)

    def order(self, placed: datetime) -> Order:
        """The next order. Its id has the instant and a running number, so it is unique in a run."""
        self._number = (self._number + 1) % 10_000
        milliseconds = int(placed.timestamp() * 1000)
        products = self._chance.sample(PRODUCTS, self._chance.choices((1, 2, 3), weights=(6, 3, 1))[0])
        return Order(
            order_id=f"ORD-{milliseconds}-{self._number:04}",
            customer_id=self._chance.choice(CUSTOMERS),
            currency=self._chance.choice(CURRENCIES),
            lines=tuple(Line(product, self._chance.randint(1, 3)) for product in products),
        )

    def payload(self, type_: str, order: Order) -> dict[str, object]:
        """The payload of an event of this type for the order."""
        known: dict[str, object] = {"order_id": order.order_id, "customer_id": order.customer_id}
        match type_:
            case "OrderPlaced":
                return known | {
                    "amount": order.amount,
                    "currency": order.currency,
                    "quantity": order.quantity,
                    "items": [
                        {"sku": p.sku, "name": p.name, "quantity": quantity, "unit_price": p.price}
                        for p, quantity in order.lines
                    ],
                }
            case "PaymentProcessed":
                return known | {
                    "payment_id": self._reference("PAY"),
                    "amount": order.amount,
                    "currency": order.currency,
                    "method": self._chance.choice(METHODS),
                }
            case "InventoryReserved":
                return known | {
                    "reservation_id": self._reference("RES"),
                    "quantity": order.quantity,
                    "warehouse": self._chance.choice(WAREHOUSES),
                    "items": [{"sku": p.sku, "quantity": quantity} for p, quantity in order.lines],
                }
            case "payment_intent.succeeded":
                return {
                    "object": {
                        "object": "payment_intent",
                        "metadata": known,
                        "amount": int(order.amount * 100),
                        "currency": order.currency.lower(),
                        "status": "succeeded",
                    }
                }
            case "fulfillments/create":
                return {
                    "order_id": order.order_id,
                    "customer": {"id": order.customer_id},
                    "status": "success",
                    "quantity": order.quantity,
                    "tracking_company": self._chance.choice(CARRIERS),
                }
            case _:
                return known | {
                    "carrier": self._chance.choice(CARRIERS),
                    "tracking_number": self._reference("TRK"),
                }

    def _reference(self, prefix: str) -> str:
        return f"{prefix}-{self._chance.getrandbits(40):010X}"


_encoder = msgspec.json.Encoder(decimal_format="number")


def to_json(payload: dict[str, object]) -> bytes:
    """The payload as JSON text; amounts are numbers with both decimal places."""
    return _encoder.encode(payload)
