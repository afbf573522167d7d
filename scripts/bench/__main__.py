"""``python -m scripts.bench`` (``make bench``): measures, prints the tables and writes them as JSON."""

import argparse
import gc
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from local.stack.config import REPOSITORY
from scripts.bench import clouds, flows, imports, ingest, live, normalising, pixels, report, stats, webhooks
from scripts.bench.report import Table
from scripts.bench.servers import Servers, servers

MEASURES: dict[str, Callable[..., list[Table]]] = {
    "normalise": normalising.measure,
    "ingest": ingest.measure,
    "flows": flows.measure,
    "webhooks": webhooks.measure,
    "live": live.measure,
    "pixels": pixels.measure,
    "clouds": clouds.measure,
    "imports": imports.measure,
    "stats": stats.measure,
}


def main() -> None:
    """Read the command line and run the measurements."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure Helios on this machine.")
    parser.add_argument(
        "--quick", action="store_true", help="take a minute instead of several; with at most a million events"
    )
    parser.add_argument(
        "--only", nargs="+", choices=MEASURES, metavar="NAME", help=f"run only these: {', '.join(MEASURES)}"
    )
    parser.add_argument("--json", type=Path, default=REPOSITORY / "build" / "bench.json", help="file for the results")
    options = parser.parse_args()
    gc.freeze()  # as every function does
    console = Console(highlight=False)
    machine = report.machine()
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()))
    tables: list[Table] = []
    with servers() as running:
        for name in options.only or MEASURES:
            tables += _measure(console, running, name, quick=options.quick)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    report.write(options.json, machine, tables)
    console.print(f"written to {options.json}")


def _measure(console: Console, running: Servers, name: str, *, quick: bool) -> list[Table]:
    tables = MEASURES[name](running, quick=quick)
    for table in tables:
        report.show(console, table)
    return tables


if __name__ == "__main__":
    main()
