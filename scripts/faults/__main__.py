"""``python -m scripts.faults`` (``make faults``): a table of faults and promises. Exits with 1 if one was broken."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from helios.errors import HeliosError
from helios.processes.process import ServiceFailed
from scripts.faults.floods import FLOODS, SECONDS, SHORT_SECONDS, Flood, FloodRow, run_floods
from scripts.faults.run import Row, Scale, run
from scripts.faults.scenarios import SCENARIOS, Scenario
from scripts.faults.testbed import Testbed

TABLE_COLUMNS = 120
SHORT_EVENTS = 0.03
SHORT_RATE = 0.15
"""The short run sends less, at a lower rate, so that each fault still occurs while events are sent."""
NOT_TESTED = {
    "kill -9 AWS emulator": "the emulator stores its queues in memory and would lose what it acknowledged, "
    "which AWS never does",
}


class Plan(NamedTuple):
    """The options of the command line."""

    events: int
    seed: int
    only: str
    short: bool

    @property
    def scenarios(self) -> list[Scenario]:
        """The scenarios that the options select."""
        return [
            scenario
            for scenario in SCENARIOS
            if self.only in scenario.name and not (self.short and (scenario.clouds or not scenario.in_short_run))
        ]

    @property
    def floods(self) -> list[Flood]:
        """The floods that the options select."""
        return [flood for flood in FLOODS if self.only in flood.name]

    @property
    def scale(self) -> Scale:
        """The factors for the number of events of each scenario and for their rate."""
        if self.short:
            return Scale(SHORT_EVENTS, SHORT_RATE)
        total = sum(scenario.load.events + 3 * scenario.load.cloud_orders for scenario in SCENARIOS)
        return Scale(self.events / total, 1.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite and return its exit status."""
    plan = _plan(arguments)
    console = Console(highlight=False, width=max(Console().width, TABLE_COLUMNS))
    rows: list[Row] = []
    flood_rows: list[FloodRow] = []
    try:
        with tempfile.TemporaryDirectory(prefix="helios-faults-") as folder:
            for row in run(plan.scenarios, Path(folder), console.print, scale=plan.scale, seed=plan.seed):
                console.print(_line(row), markup=False)
                rows.append(row)
            if plan.floods:
                flood_rows = _run_floods(plan, Path(folder) / "floods", console)
    except (HeliosError, ServiceFailed) as error:
        console.print(f"faults: {error}", markup=False, style="red")
        return 2
    console.print(_table(rows))
    console.print(_flood_table(flood_rows))
    for name, reason in NOT_TESTED.items():
        console.print(f"not tested: {name}: {reason}", markup=False)
    violations = [f"{row.name}: {sentence}" for row in rows for sentence in row.violations]
    violations += [f"{row.name}: {sentence}" for row in flood_rows for sentence in row.violations]
    for sentence in violations:
        console.print(sentence, markup=False, style="red")
    stored, lost, doubled = (sum(getattr(row, name) for row in rows) for name in ("stored", "lost", "doubled"))
    deliveries = sum(sum(row.counts.values()) for row in rows)
    console.print(f"{stored} events in {deliveries} deliveries: {lost} lost, {doubled} stored twice")
    return 1 if violations else 0


def _run_floods(plan: Plan, folder: Path, console: Console) -> list[FloodRow]:
    """Run the floods. The latencies of a short run are too few to judge: it may run beside other work."""
    folder.mkdir()
    seconds = SHORT_SECONDS if plan.short else SECONDS
    with Testbed(folder, console.print, clouds=()) as testbed:
        return run_floods(testbed, plan.floods, seconds=seconds, judges_latency=not plan.short)


def _flood_table(rows: Sequence[FloodRow]) -> Table:
    table = Table("flood of one sender", "others' p99, ms", "quiet, ms", "not acknowledged", "MB", "promises", box=None)
    for row in rows:
        promises = f"{len(row.violations)} broken" if row.violations else "met"
        table.add_row(
            row.name, f"{row.p99_ms:.0f}", f"{row.quiet_ms:.0f}", str(row.failed), f"{row.megabytes:.0f}", promises
        )
    return table


def _line(row: Row) -> str:
    if row.skipped:
        return f"{row.name}: skipped: {row.skipped}"
    return f"{row.name}: {'; '.join(row.violations) or 'all promises met'}, {row.seconds:.0f} s"


def _table(rows: Sequence[Row]) -> Table:
    table = Table(
        "fault",
        "stored",
        "duplicate",
        "rejected",
        "refused",
        "lost",
        "stored twice",
        "recovery s",
        "promises",
        box=None,
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
        table.add_row(
            row.name, *map(str, counts), recovery, f"{len(row.violations)} broken" if row.violations else "met"
        )
    return table


def _plan(arguments: Sequence[str] | None) -> Plan:
    parser = argparse.ArgumentParser(
        prog="faults",
        description="Make parts of Helios fail while orders are sent, and check every promise after each fault.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--events", type=int, default=220_000, metavar="N", help="distinct events in a full run")
    add(
        "--seed",
        type=int,
        default=1,
        metavar="N",
        help="seed of the random numbers; the same seed sends the same events",
    )
    add("--only", default="", metavar="TEXT", help="run only the faults whose name contains TEXT")
    add("--short", action="store_true", help="send a few thousand events, without the clouds")
    return Plan(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
