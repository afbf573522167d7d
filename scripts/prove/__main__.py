"""``python -m scripts.prove``, also ``make prove``: what was injected, and what Helios found; exit 1 if they differ."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from helios.errors import HeliosError
from local.stack.process import ServiceFailed
from scripts.prove.compare import Score
from scripts.prove.run import Plan, prove

SHOWN_WRONGS = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the proof, and return its exit status."""
    plan = _plan(arguments)
    console = Console(highlight=False)
    try:
        with tempfile.TemporaryDirectory(prefix="helios-prove-") as folder:
            comparison = prove(plan, Path(folder), console.print)
    except (HeliosError, ServiceFailed) as error:
        console.print(f"prove: {error}", markup=False, style="red")
        return 2
    console.print(_table(comparison.scores))
    for sentence in comparison.wrong[:SHOWN_WRONGS]:
        console.print(sentence, markup=False, style="red")
    if more := len(comparison.wrong) - SHOWN_WRONGS:
        console.print(f"and {more} more" if more > 0 else "", style="red")
    if comparison.wrong:
        return 1
    console.print(f"Helios told the truth about all {plan.orders} orders.")
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
        description="Inject anomalies into live traffic, restart what serves it, and compare reports with the truth.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--orders", type=int, default=2000, metavar="N", help="orders to place")
    add("--error-rate", type=float, default=0.1, metavar="F", help="share of orders that get one anomaly")
    add("--rate", type=float, default=100.0, metavar="N", help="events per second")
    add("--seed", type=int, default=1, metavar="N", help="the same seed gives the same anomalies")
    add("--window", type=float, default=30.0, metavar="S", help="within so many seconds legs are in time")
    add("--grace", type=float, default=60.0, metavar="S", help="so many seconds later a leg is missing")
    return Plan(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
