"""``python -m scripts.faults``, also ``make faults``: a table of faults and promises; exit 1 if one was broken."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from helios.errors import HeliosError
from local.stack.process import ServiceFailed
from scripts.faults.run import Row, Scale, run
from scripts.faults.scenarios import SCENARIOS, Scenario

TABLE_COLUMNS = 120
SHORT_EVENTS = 0.03
SHORT_RATE = 0.15
"""In the short form so much less is sent, and so much slower, that each fault still comes while something is sent."""
NOT_TRIED = {
    "kill -9 AWS emulator": "it keeps its queues in memory; what it has acknowledged would be gone with it, "
    "which AWS promises not to do",
}


class Plan(NamedTuple):
    """The words of the command line."""

    events: int
    seed: int
    only: str
    short: bool

    @property
    def scenarios(self) -> list[Scenario]:
        """Those that are asked for."""
        return [
            one for one in SCENARIOS if self.only in one.name and not (self.short and (one.clouds or not one.quick))
        ]

    @property
    def scale(self) -> Scale:
        """By how much to multiply what the scenarios send."""
        if self.short:
            return Scale(SHORT_EVENTS, SHORT_RATE)
        return Scale(self.events / sum(one.load.events + 3 * one.load.cloud_orders for one in SCENARIOS), 1.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite, and return its exit status."""
    plan = _plan(arguments)
    console = Console(highlight=False, width=max(Console().width, TABLE_COLUMNS))
    rows: list[Row] = []
    try:
        with tempfile.TemporaryDirectory(prefix="helios-faults-") as folder:
            for row in run(plan.scenarios, Path(folder), console.print, scale=plan.scale, seed=plan.seed):
                console.print(_line(row), markup=False)
                rows.append(row)
    except (HeliosError, ServiceFailed) as error:
        console.print(f"faults: {error}", markup=False, style="red")
        return 2
    console.print(_table(rows))
    for name, reason in NOT_TRIED.items():
        console.print(f"not tried: {name}: {reason}", markup=False)
    wrong = [f"{row.name}: {sentence}" for row in rows for sentence in row.wrong]
    for sentence in wrong:
        console.print(sentence, markup=False, style="red")
    stored, lost, doubled = (sum(getattr(row, name) for row in rows) for name in ("stored", "lost", "doubled"))
    deliveries = sum(sum(row.counts.values()) for row in rows)
    console.print(f"{stored} events in {deliveries} deliveries: {lost} lost, {doubled} doubled")
    return 1 if wrong else 0


def _line(row: Row) -> str:
    if row.skipped:
        return f"{row.name}: skipped: {row.skipped}"
    return f"{row.name}: {'; '.join(row.wrong) or 'as promised'}, {row.seconds:.0f} s"


def _table(rows: Sequence[Row]) -> Table:
    table = Table(
        "fault", "stored", "duplicate", "rejected", "refused", "lost", "doubled", "recovery s", "promises", box=None
    )
    for row in rows:
        if row.skipped:
            table.add_row(row.name, *["-"] * 7, f"skipped: {row.skipped}")
            continue
        counts = (
            row.stored,
            row.counts.get("duplicate", 0),
            row.counts.get("rejected", 0),
            row.refused,
            row.lost,
            row.doubled,
        )
        recovery = "-" if row.recovery is None else f"{row.recovery:.1f}"
        table.add_row(row.name, *map(str, counts), recovery, f"{len(row.wrong)} broken" if row.wrong else "kept")
    return table


def _plan(arguments: Sequence[str] | None) -> Plan:
    parser = argparse.ArgumentParser(
        prog="faults",
        description="Make parts of Helios fail while orders are sent, and check every promise after each fault.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--events", type=int, default=220_000, metavar="N", help="different events in a full run")
    add("--seed", type=int, default=1, metavar="N", help="the same seed sends the same")
    add("--only", default="", metavar="TEXT", help="the faults whose name contains this")
    add("--short", action="store_true", help="a few thousand events, and no clouds")
    return Plan(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
