"""The options of a run, and the command line that sets them."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from helios.model.sources import BUILT_IN, Source

from .poisons import Via
from .shop import SOURCES

DEFAULT_VIA: Final[Via] = "webhook"
DEFAULT_URL: Final = "http://localhost:8001"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one run; the fields have the names of the command line's options."""

    rate: float = 10.0
    duration: float = 0.0
    count: int | None = None
    orders: int | None = None
    error_rate: float = 0.05
    url: str = DEFAULT_URL
    via: Via = DEFAULT_VIA
    sources: tuple[Source, ...] = BUILT_IN
    seed: int | None = None
    jitter: float = 1.5
    lateness: float = 40.0
    varied: float = 0.0
    manifests: bool = False
    undelivered: str = ""
    patience: float = 300.0
    truth: Path | None = None
    summary: Path | None = None
    allow_mixed: bool = False

    @property
    def most_events(self) -> float:
        """The largest number of events that both the duration and the count allow."""
        by_time = round(self.rate * self.duration) if self.duration else math.inf
        return min(by_time, math.inf if self.count is None else self.count)

    @property
    def most_orders(self) -> float:
        """The largest number of orders."""
        return math.inf if self.orders is None else self.orders


def parse(arguments: Sequence[str] | None = None) -> Options:
    """The options of the command line. Explains an invalid one and exits with status 2."""
    options = vars(_parser().parse_args(arguments))
    selected = options.pop("source") or BUILT_IN
    if options["varied"] and not set(BUILT_IN) <= set(selected):
        _parser().error("--varied: a varied order has events of all three clouds. Leave --source out, or --varied.")
    return Options(**options, sources=tuple(source for source in SOURCES if source in selected))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts.simulator",
        description="Send the events of a shop whose orders cross three clouds: 40 % AWS, 30 % GCP, 30 % Azure.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--rate", type=_above_zero, default=10.0, metavar="N", help="events per second")
    add("--duration", type=_zero_or_more, default=0.0, metavar="S", help="seconds to run; 0: until Ctrl-C")
    add("--count", type=_natural, metavar="N", help="send no more than N events")
    add("--orders", type=_natural, metavar="N", help="place no more than N orders, and send all events of each")
    add("--error-rate", type=_share, default=0.05, metavar="F", help="share of orders with one anomaly")
    add("--url", default=DEFAULT_URL, help="the URL of Helios' API, for --via webhook")
    add(
        "--via",
        choices=("webhook", "cloud"),
        default=DEFAULT_VIA,
        help="post to Helios' webhooks, or publish through the clouds' own SDKs",
    )
    add(
        "--source",
        action="append",
        choices=SOURCES,
        help="only this source; may be repeated; by default the three clouds",
    )
    add("--seed", type=int, metavar="N", help="the same seed gives the same orders and anomalies")
    add(
        "--jitter",
        type=_zero_or_more,
        default=1.5,
        metavar="S",
        help="largest delay between an order and its other legs, in seconds",
    )
    add(
        "--lateness",
        type=_above_zero,
        default=40.0,
        metavar="S",
        help="delay of a late leg after its order, in seconds",
    )
    add(
        "--varied",
        type=_share,
        default=0.0,
        metavar="F",
        help="share of orders in parcels, refunded, in instalments or in another currency",
    )
    add(
        "--manifests",
        action="store_true",
        help="let the producers in the clouds send manifests; an anomaly may then be an order lost in every cloud",
    )
    add(
        "--undelivered",
        default="",
        metavar="FIELD",
        help="publish most missing legs, with FIELD = true in their payload: the clouds must not deliver such events",
    )
    add(
        "--patience",
        type=_zero_or_more,
        default=300.0,
        metavar="S",
        help="how long an event is retried during an outage, in seconds",
    )
    add("--truth", type=Path, metavar="FILE", help="write each injected anomaly to FILE, as JSON lines")
    add("--summary", type=Path, metavar="FILE", help="write the summary to FILE, as JSON")
    add("--allow-mixed", action="store_true", help="allow emulators for some clouds and the real ones for others")
    return parser


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return value


def _zero_or_more(text: str) -> float:
    if (value := _number(text)) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _above_zero(text: str) -> float:
    if (value := _number(text)) <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _share(text: str) -> float:
    if not 0 <= (value := _number(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _natural(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value
