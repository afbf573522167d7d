"""Shows the progress of a run and its summary: a live table on a terminal, plain lines elsewhere."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from helios.model.sources import Source

from .queues import CloudQueue
from .tally import Summary

LIVE_EVERY_S: Final = 0.5
PLAIN_EVERY_S: Final = 5.0

_NAMES: Final[dict[Source, str]] = {
    "aws": "AWS",
    "gcp": "GCP",
    "azure": "Azure",
    "stripe": "Stripe",
    "shopify": "Shopify",
}
_COUNTS: Final = ("sent", "accepted", "duplicate", "contradictory", "rejected", "failed", "retried")


class Display:
    """Writes to one console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def note(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    async def follow(self, summary: Callable[[], Summary], queues: Mapping[Source, CloudQueue]) -> None:
        """Show the progress until cancelled."""
        if not self._console.is_terminal:
            while True:
                await asyncio.sleep(PLAIN_EVERY_S)
                self.note(_line(summary(), queues))
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                now = summary()
                live.update(Group(_table(now), Text(_line(now, queues))), refresh=True)
                await asyncio.sleep(LIVE_EVERY_S)

    def finish(self, summary: Summary) -> None:
        """Show the summary."""
        self._console.print(_table(summary))
        anomalies = ", ".join(f"{count} {kind}" for kind, count in summary.anomalies.items() if count)
        self.note(f"{summary.orders} orders; anomalies: {anomalies or 'none'}")
        self.note(f"target rate {summary.rate_asked:g} events/s, actual {summary.rate:g} in {summary.seconds:.1f} s")
        for complaint in summary.complaints:
            self.note(f"WRONG: {complaint}")
        if summary.unanswered:
            self.note(f"{summary.unanswered} events had no answer when the run was interrupted")
        if summary.wrong:
            self.note(f"{summary.wrong} answers were wrong")
        if summary.ok:
            self.note("every event got the expected answer")


def _table(summary: Summary) -> Table:
    """A table with one column per cloud, which fits any terminal."""
    table = Table()
    table.add_column("events")
    columns = [*summary.sources.values(), summary.total]
    for name in (*(_NAMES[source] for source in summary.sources), "All"):
        table.add_column(name, justify="right", min_width=8)
    for count in _COUNTS:
        table.add_row(count, *(f"{getattr(column, count):,}" for column in columns))
    table.add_section()
    sent = summary.total.sent or 1
    table.add_row("share of all", *(f"{column.sent / sent:.1%}" for column in columns))
    table.add_row("p50 ms", *(_milliseconds(column.p50_ms) for column in columns))
    table.add_row("p99 ms", *(_milliseconds(column.p99_ms) for column in columns))
    return table


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _line(summary: Summary, queues: Mapping[Source, CloudQueue]) -> str:
    total = summary.total
    parts = [
        f"{summary.seconds:.0f} s",
        f"{summary.rate:g} of {summary.rate_asked:g} events/s",
        *(f"{getattr(total, column)} {column}" for column in _COUNTS if getattr(total, column)),
        f"p99 {_milliseconds(total.p99_ms)} ms",
    ]
    if waiting := sum(queue.waiting for queue in queues.values()):
        parts.append(f"{waiting} queued")
    parts += [f"{_NAMES[source]} DOWN: {queue.outage:.100}" for source, queue in queues.items() if queue.outage]
    return " · ".join(parts)
