"""Tables and lines for a terminal; a word accompanies every colour."""

from collections.abc import Sequence
from typing import assert_never

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from helios.cli.terminal import printable
from helios.cli.times import utc_text
from helios.model.balances import Balance
from helios.model.events import Event
from helios.model.flow_versions import STATUSES_OR_NONE, FlowPreview
from helios.model.flows import FlowInstance, FlowInstanceDetails, FlowStatus
from helios.model.incidents import Incident, Severity
from helios.model.stream import EventSummary, FlowChange
from helios.reconciliation.preview import Preview

_NO_FLOWS = "No flow instance matches."
_NO_EVENTS = "No event matches."
_NO_INCIDENTS = "No incident matches."
_NO_BALANCES = "No balance matches: no producer has sent a manifest of such events."


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
    """A line for each flow instance, and below it a line for each of its issues."""
    if not rows:
        return _NO_FLOWS
    return _stacked(
        ("opened", "flow", "key", "status", "amount"),
        [
            (
                Text(utc_text(flow.opened_at)),
                _text(flow.flow),
                _text(flow.key),
                _status(flow.status),
                _text("" if flow.amount is None else f"{flow.amount} {flow.currency or ''}"),
            )
            for flow in rows
        ],
        [[*(_issue(issue.detail) for issue in flow.issues), *_resolution(flow)] for flow in rows],
    )


def instance(flow: FlowInstanceDetails) -> RenderableType:
    """One flow instance: its status, its legs with their values, its issues and its timeline."""
    head = Text.assemble((printable(f"{flow.flow} {flow.key}"), "bold"), "  ", _status(flow.status))
    legs = _stacked(
        ("leg", "cloud", "state", "received", "deliveries"),
        [
            (
                _text(leg.name),
                _text(leg.source),
                _text(f"{leg.state} ({leg.parts} of {leg.expected})" if leg.expected > 1 else leg.state),
                _text(utc_text(leg.received_at) if leg.received_at else ""),
                _text(str(leg.deliveries)),
            )
            for leg in flow.legs
        ],
        [[_text(", ".join(f"{name} {value}" for name, value in leg.fields.items()))] for leg in flow.legs],
    )
    issues = [_issue(f"{issue.kind}: {issue.detail}") for issue in flow.issues]
    timeline = Table("time", "step", Column("detail", overflow="fold"), box=None, pad_edge=False)
    for step in flow.timeline:
        timeline.add_row(utc_text(step.at), step.what, _text(step.detail))
    resolution = _resolution(flow)
    parts: list[RenderableType] = []
    for lines in (issues, resolution):
        parts += [*lines, ""] if lines else []
    return Group(head, "", legs, "", *parts, timeline)


def _resolution(flow: FlowInstance) -> list[Text]:
    """What people have decided, on a line of its own."""
    if flow.resolution is None:
        return []
    work = flow.resolution
    words = [work.state.replace("_", " "), *([f"assigned to {work.assignee}"] if work.assignee else [])]
    reason = f": {work.reason}" if work.reason else ""
    return [_text(f"{', '.join(words)} ({work.changed_by}, {utc_text(work.changed_at)}){reason}")]


def _stacked(names: Sequence[str], rows: Sequence[Sequence[Text]], details: Sequence[Sequence[Text]]) -> Group:
    """Rows in columns that are as wide as their content, and below each row its details on lines of their own.

    A long text has the whole width of the terminal, so that 80 columns are enough for every row.
    """
    cells = [[Text(name, style="bold") for name in names], *rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    for row in cells:
        for cell, width in zip(row, widths, strict=True):
            cell.pad_right(width - cell.cell_len)
    head, *lines = [Text("  ").join(row) for row in cells]
    head.rstrip()
    parts: list[RenderableType] = [head]
    for line, texts in zip(lines, details, strict=True):
        parts.append(line)
        parts += [Padding(text, (0, 0, 0, 2)) for text in texts if text.plain]
    return Group(*parts)


def preview(result: Preview, *, limit: int) -> RenderableType:
    """How many flow instances would have each status, and the first ``limit`` whose status would change."""
    counts = Table(
        "status", Column("now", justify="right"), Column("preview", justify="right"), box=None, pad_edge=False
    )
    for status in STATUSES_OR_NONE:
        if result.recorded[status] or result.previewed[status]:
            counts.add_row(status, f"{result.recorded[status]:,}", f"{result.previewed[status]:,}")
    shown = result.differences[:limit]
    changed = _stacked(
        ("flow", "key", "now", "preview"),
        [(_text(item.flow), _text(item.key), _text(item.recorded), _text(item.previewed)) for item in shown],
        [[_issue(issue.detail) for issue in item.issues] for item in shown],
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


def flow_preview(result: FlowPreview) -> RenderableType:
    """How many flow instances would change their status, examples of them, and how many were compared."""
    changes = Table(
        "now",
        "preview",
        Column("compared", justify="right"),
        Column("estimated", justify="right"),
        box=None,
        pad_edge=False,
    )
    for change in result.changes:
        changes.add_row(change.recorded, change.previewed, f"{change.compared:,}", f"{change.estimated:,}")
    examples = _stacked(
        ("key", "now", "preview"),
        [(_text(item.key), _text(item.recorded), _text(item.previewed)) for item in result.examples],
        [[_issue(issue.detail) for issue in item.issues] for item in result.examples],
    )
    compared = (
        f"Compared: {result.problems.compared:,} of {result.problems.instances:,} problems and "
        f"{result.others.compared:,} of {result.others.instances:,} other flow instances, "
        f"opened since {utc_text(result.covered_since)}."
    )
    notes = [compared]
    if result.covered_since > result.since:
        notes.append("The version has other legs than the rules in force: only the newest events were read.")
    if result.contradictory:
        notes.append(f"Not compared, because their deliveries contradict each other: {result.contradictory:,}.")
    if not result.changes:
        return Group("No verdict would change.", *notes)
    return Group(changes, "", examples, "", *notes)


def events(rows: list[Event]) -> RenderableType:
    """A line for each event, and below it its id and its customer."""
    if not rows:
        return _NO_EVENTS
    return _stacked(
        ("received", "cloud", "type", "order", "amount"),
        [
            (
                Text(utc_text(event.received_at)),
                _text(event.source),
                _text(event.type),
                _text(event.order_id),
                _text("" if event.amount is None else str(event.amount)),
            )
            for event in rows
        ],
        [
            [_text(f"id {event.id}" + (f", customer {event.customer_id}" if event.customer_id else ""))]
            for event in rows
        ],
    )


def incidents(rows: list[Incident]) -> RenderableType:
    """A line for each incident, and below it its cause in words."""
    if not rows:
        return _NO_INCIDENTS
    return _stacked(
        ("id", "opened", "severity", "state", "counts", "amounts"),
        [
            (
                Text(str(incident.id)),
                Text(utc_text(incident.opened_at)),
                _severity(incident.severity),
                Text("resolved" if incident.resolved_at else "acknowledged" if incident.acknowledged_by else "open"),
                Text(f"{incident.number:,}"),
                _text(", ".join(f"{money.amount} {money.currency or ''}" for money in incident.amounts)),
            )
            for incident in rows
        ],
        [[_text(incident.title)] for incident in rows],
    )


def balances(rows: list[Balance]) -> RenderableType:
    """A line for each balance."""
    if not rows:
        return _NO_BALANCES
    numbers = ("published", "stored", "duplicate", "rejected", "missing", "extra", "advisory")
    table = Table("minute", "source", "type", *(Column(name, justify="right") for name in numbers), "state", box=None)
    for balance in rows:
        counts = (getattr(balance, name) for name in numbers)
        table.add_row(
            Text(utc_text(balance.minute)),
            _text(balance.source),
            _text(balance.type),
            *(Text("" if count is None else f"{count:,}") for count in counts),
            Text(balance.state, style="red" if balance.state == "missing" else ""),
        )
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


def _issue(detail: str) -> Text:
    return Text(printable(detail), style="yellow")


def _severity(severity: Severity) -> Text:
    styles: dict[Severity, str] = {"info": "cyan", "warning": "yellow", "error": "red", "critical": "bold red"}
    return Text(severity, style=styles[severity])


def _status(status: FlowStatus) -> Text:
    styles: dict[FlowStatus, str] = {
        "open": "cyan",
        "matched": "green",
        "matched_late": "green",
        "mismatched": "red",
        "incomplete": "red",
    }
    return Text(status.replace("_", " "), style=styles[status])
