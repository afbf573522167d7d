"""``python -m scripts.bench`` (``make bench``): measures, prints the tables and writes them as JSON."""

import argparse
import gc
from collections.abc import Callable
from pathlib import Path

import msgspec
from rich.console import Console

from local.stack.config import REPOSITORY
from scripts.bench import (
    alerting,
    archive,
    clouds,
    costs,
    drops,
    flink,
    flows,
    imports,
    ingest,
    live,
    normalising,
    pixels,
    previewing,
    recoveries,
    reference,
    report,
    resolving,
    retention,
    scale,
    stats,
    topology,
    tracing,
    webhooks,
)
from scripts.bench.report import Table
from scripts.bench.servers import Servers, servers

MEASURES: dict[str, Callable[..., list[Table]]] = {
    "normalise": normalising.measure,
    "ingest": ingest.measure,
    "flows": flows.measure,
    "scale": scale.measure,
    "costs": costs.measure,
    "webhooks": webhooks.measure,
    "live": live.measure,
    "pixels": pixels.measure,
    "clouds": clouds.measure,
    "imports": imports.measure,
    "stats": stats.measure,
    "preview": previewing.measure,
    "topology": topology.measure,
    "tracing": tracing.measure,
    "archive": archive.measure,
    "retention": retention.measure,
    "drops": drops.measure,
    "flink": flink.measure,
    "recoveries": recoveries.measure,
    "resolutions": resolving.measure,
    "incidents": alerting.measure,
}

SIZED = {"archive", "drops", "flink", "retention"}
"""The measurements whose number of events can be chosen."""

TIMED = {"topology"}
"""The measurements whose time can be chosen."""


def main() -> None:
    """Read the command line and run the measurements."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure Helios on this machine.")
    parser.add_argument(
        "--quick", action="store_true", help="take a minute instead of several; with at most a million events"
    )
    parser.add_argument(
        "--only", nargs="+", choices=MEASURES, metavar="NAME", help=f"run only these: {', '.join(MEASURES)}"
    )
    parser.add_argument(
        "--events", type=int, metavar="N", help=f"the number of events in these: {', '.join(sorted(SIZED))}"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help=f"how long to load in these: {', '.join(TIMED)}")
    parser.add_argument(
        "--commit-ms",
        type=float,
        default=0,
        metavar="MS",
        help="how much longer each commit takes than on this disk",
    )
    parser.add_argument("--json", type=Path, default=REPOSITORY / "build" / "bench.json", help="file for the results")
    options = parser.parse_args()
    gc.freeze()  # as every function does
    console = Console(highlight=False)
    machine = report.machine() | ({"added_commit_ms": str(options.commit_ms)} if options.commit_ms else {})
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()))
    tables: list[Table] = []
    with servers(commit_ms=options.commit_ms) as running:
        for name in options.only or MEASURES:
            chosen = {"events": options.events} if options.events and name in SIZED else {}
            chosen |= {"seconds": options.seconds} if options.seconds and name in TIMED else {}
            tables += _measure(console, running, name, quick=options.quick, **chosen)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    report.write(options.json, machine, tables)
    console.print(f"written to {options.json}")


def _measure(console: Console, running: Servers, name: str, *, quick: bool, **chosen: float) -> list[Table]:
    beside = reference.measure(running)
    running.empty()
    tables = [msgspec.structs.replace(table, beside=beside) for table in MEASURES[name](running, quick=quick, **chosen)]
    for table in tables:
        report.show(console, table)
    return tables


if __name__ == "__main__":
    main()
