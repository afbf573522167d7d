"""Tables and lines for a terminal; a word accompanies every colour."""

from typing import assert_never

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from helios.cli.terminal import printable
from helios.cli.times import utc_text
from helios.model.events import Event
from helios.model.flows import FlowInstance, FlowInstanceDetails, FlowStatus
from helios.model.stream import EventSummary, FlowChange
from helios.reconciliation.preview import STATUSES_OR_NONE, Preview

_NO_FLOWS = "No flow instance matches."
_NO_EVENTS = "No event matches."


class _Printable:
    """Replaces the control characters in everything that is drawn, also in texts for which ``_text`` was forgotten."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the content."""
        for segment in console.render(self._content, options):
            if not segment.control:
                yield Segment("\n".join(map(printable, segment.text.split("\n"))), segment.style)


def show(content: RenderableType) -> None:
    """Print to standard output, as wide as the terminal is. Square brackets and colons in a text are no markup."""
    Console(highlight=False, markup=False, emoji=False).print(_Printable(content))


def flows(rows: list[FlowInstance]) -> RenderableType:
    """One line for each flow instance, and below it one line for each of its issues, readable at 80 columns."""
    if not rows:
        return _NO_FLOWS
    cells = [[Text(name, style="bold") for name in ("opened", "flow", "key", "status", "amount")]]
    for flow in rows:
        amount = "" if flow.amount is None else f"{flow.amount} {flow.currency or ''}"
        cells.append(
            [Text(utc_text(flow.opened_at)), _text(flow.flow), _text(flow.key), _status(flow.status), _text(amount)]
        )
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    for row in cells:
        for cell, width in zip(row, widths, strict=True):
            cell.pad_right(width - cell.cell_len)
    head, *lines = [Text("  ").join(row) for row in cells]
    head.rstrip()
    parts: list[RenderableType] = [head]
    for line, flow in zip(lines, rows, strict=True):
        parts.append(line)
        parts += [Padding(Text(printable(issue.detail), style="yellow"), (0, 0, 0, 2)) for issue in flow.issues]
    return Group(*parts)


def instance(rows: list[FlowInstanceDetails]) -> RenderableType:
    """One flow instance: its status, its legs side by side, its issues and its timeline."""
    (flow,) = rows
    head = Text.assemble((printable(f"{flow.flow} {flow.key}"), "bold"), "  ", _status(flow.status))
    fields = sorted({name for leg in flow.legs for name in leg.fields})
    legs = Table("leg", "cloud", "state", "received", "deliveries", *map(_column, fields), box=None, pad_edge=False)
    for leg in flow.legs:
        values = (_text(leg.fields.get(name)) for name in fields)
        received = utc_text(leg.received_at) if leg.received_at else ""
        legs.add_row(leg.name, leg.source, leg.state, received, str(leg.deliveries), *values)
    issues = [Text(printable(f"{issue.kind}: {issue.detail}"), style="yellow") for issue in flow.issues]
    timeline = Table("time", "step", "detail", box=None, pad_edge=False)
    for step in flow.timeline:
        timeline.add_row(utc_text(step.at), step.what, _text(step.detail))
    return Group(head, "", legs, "", *issues, *([""] if issues else []), timeline)


def preview(result: Preview, *, limit: int) -> RenderableType:
    """How many flow instances would have each status, and the first ``limit`` whose status would change."""
    counts = Table(
        "status", Column("now", justify="right"), Column("preview", justify="right"), box=None, pad_edge=False
    )
    for status in STATUSES_OR_NONE:
        if result.recorded[status] or result.previewed[status]:
            counts.add_row(status, f"{result.recorded[status]:,}", f"{result.previewed[status]:,}")
    changed = Table(Column("flow"), Column("key", no_wrap=True), "now", "preview", "issues", box=None, pad_edge=False)
    for difference in result.differences[:limit]:
        issues = "; ".join(issue.detail for issue in difference.issues)
        changed.add_row(
            difference.flow, _text(difference.key), difference.recorded, difference.previewed, _text(issues)
        )
    notes = [f"Flow instances compared: {result.instances:,}. Status would change: {len(result.differences):,}."]
    if result.contradictory:
        notes.append(
            "Not compared, because a preview reads only stored events and these have contradictory deliveries: "
            f"{result.contradictory:,}."
        )
    if (omitted := len(result.differences) - limit) > 0:
        notes.append(f"Not shown (see --limit): {omitted:,}.")
    changes: list[RenderableType] = [changed, ""] if result.differences else []
    return Group(counts, "", *changes, *notes)


def events(rows: list[Event]) -> RenderableType:
    """One line for each event."""
    if not rows:
        return _NO_EVENTS
    names = ("received", "cloud", "type", "id", "order", "customer", "amount")
    table = Table(*(Column(name, overflow="fold") for name in names), box=None, pad_edge=False)
    for event in rows:
        texts = (event.type, event.id, event.order_id, event.customer_id)
        amount = "" if event.amount is None else str(event.amount)
        table.add_row(utc_text(event.received_at), event.source, *map(_text, texts), amount)
    return table


def line(item: EventSummary | FlowChange) -> str:
    """A new event, or a change of a flow instance, as a line."""
    match item:
        case EventSummary():
            words = [utc_text(item.received_at), f"{item.source:<5}", item.type, item.id, item.order_id or ""]
        case FlowChange():
            words = [utc_text(item.opened_at), item.flow, item.key, item.status, ", ".join(item.issues)]
        case _:
            assert_never(item)
    return "  ".join(word for word in words if word)


def _text(text: str | None) -> Text:
    """A sender's text, without the control characters that could steer the terminal."""
    return Text(printable(text or ""))


def _column(name: str) -> Column:
    """A column whose head is a sender's text."""
    return Column(header=_text(name))


def _status(status: FlowStatus) -> Text:
    styles: dict[FlowStatus, str] = {
        "open": "cyan",
        "matched": "green",
        "matched_late": "green",
        "mismatched": "red",
        "incomplete": "red",
    }
    return Text(status.replace("_", " "), style=styles[status])
