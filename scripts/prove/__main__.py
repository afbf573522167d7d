"""``python -m scripts.prove`` (``make prove``): injected against reported anomalies. Exits with 1 if they differ."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from helios.errors import HeliosError
from helios.processes.process import ServiceFailed
from local.stack.providers import MOST_SOURCES
from scripts.prove.compare import Score
from scripts.prove.run import Plan, prove

MAX_DIFFERENCES = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the proof and return its exit status."""
    plan = _plan(arguments)
    console = Console(highlight=False)
    try:
        with tempfile.TemporaryDirectory(prefix="helios-prove-") as folder:
            comparison = prove(plan, Path(folder), console.print)
    except (HeliosError, ServiceFailed) as error:
        console.print(f"prove: {error}", markup=False, style="red")
        return 2
    console.print(_table(comparison.scores))
    for sentence in comparison.differences[:MAX_DIFFERENCES]:
        console.print(sentence, markup=False, style="red")
    if more := len(comparison.differences) - MAX_DIFFERENCES:
        console.print(f"and {more} more" if more > 0 else "", style="red")
    if comparison.differences:
        return 1
    console.print(f"Helios reported all {plan.orders} orders correctly.")
    return 0


def _table(scores: Sequence[Score]) -> Table:
    table = Table("anomaly", "injected", "detected", "precision", "recall", "median s to detect", box=None)
    for score in scores:
        shares = ("-" if share is None else f"{share:.3f}" for share in (score.precision, score.recall))
        seconds = "-" if score.seconds is None else f"{score.seconds:.1f}"
        table.add_row(score.kind, str(score.injected), str(score.detected), *shares, seconds)
    return table


def _plan(arguments: Sequence[str] | None) -> Plan:
    parser = argparse.ArgumentParser(
        prog="prove",
        description="Inject anomalies into live traffic, restart services, and compare reports with the truth.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--orders", type=int, default=2000, metavar="N", help="orders to place")
    add("--error-rate", type=float, default=0.1, metavar="F", help="share of orders with one anomaly")
    add("--rate", type=float, default=100.0, metavar="N", help="events per second")
    add("--seed", type=int, default=1, metavar="N", help="the same seed gives the same anomalies")
    add("--window", type=float, default=30.0, metavar="S", help="window of the flow, in seconds")
    add(
        "--grace",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds after the window until a leg is missing",
    )
    add(
        "--sources",
        type=int,
        choices=range(3, MOST_SOURCES + 1),
        default=3,
        help="3: the clouds; 4: and a payment provider; 5: and a shop",
    )
    add(
        "--varied",
        type=float,
        default=0.2,
        metavar="F",
        help="share of orders in parcels, refunded, in instalments or in another currency",
    )
    add("--engine", choices=("postgres", "flink"), default="postgres", help="what judges events")
    return Plan(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
