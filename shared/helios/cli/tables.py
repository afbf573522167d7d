"""What the commands print where a person reads: tables and lines; every colour comes with a word."""

from datetime import datetime
from typing import assert_never

from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from helios.model.events import Event
from helios.model.flows import FlowInstance, FlowInstanceDetails, FlowStatus
from helios.model.stream import EventSummary, FlowChange
from helios.reconciliation.preview import STATUSES_OR_NONE, Preview

_NO_FLOWS = "No order matches: all clouds agree, or none has spoken yet."
_NO_EVENTS = "No event matches."


def show(content: RenderableType) -> None:
    """Print to standard output, as wide as the terminal is."""
    Console(highlight=False).print(content)


def flows(found: list[FlowInstance]) -> RenderableType:
    """One line an order: what is wrong with it, in words."""
    if not found:
        return _NO_FLOWS
    narrow = [Column(name, no_wrap=True) for name in ("opened", "flow", "key", "status", "amount")]
    table = Table(*narrow, "what is wrong", box=None, pad_edge=False)
    for flow in found:
        amount = "" if flow.amount is None else f"{flow.amount} {flow.currency or ''}"
        issues = "; ".join(issue.detail for issue in flow.issues)
        table.add_row(
            _moment(flow.opened_at), flow.flow, _text(flow.key), _status(flow.status), _text(amount), _text(issues)
        )
    return table


def instance(found: list[FlowInstanceDetails]) -> RenderableType:
    """One order: its verdict, each leg beside the others, and what happened when."""
    (flow,) = found
    head = Text.assemble((_printable(f"{flow.flow} {flow.key}"), "bold"), "  ", _status(flow.status))
    fields = sorted({name for leg in flow.legs for name in leg.fields})
    legs = Table("leg", "cloud", "state", "received", "deliveries", *fields, box=None, pad_edge=False)
    for leg in flow.legs:
        values = (_text(leg.fields.get(name)) for name in fields)
        received = _moment(leg.received_at) if leg.received_at else ""
        legs.add_row(leg.name, leg.source, leg.state, received, str(leg.deliveries), *values)
    issues = [Text(_printable(f"{issue.kind}: {issue.detail}"), style="yellow") for issue in flow.issues]
    timeline = Table("at", "what", "", box=None, pad_edge=False)
    for step in flow.timeline:
        timeline.add_row(_moment(step.at), step.what, _text(step.detail))
    return Group(head, "", legs, "", *issues, *([""] if issues else []), timeline)


def preview(found: Preview, *, shown: int) -> RenderableType:
    """How many stories would have each verdict, and which would have another than now."""
    counts = Table("status", Column("now", justify="right"), Column("then", justify="right"), box=None, pad_edge=False)
    for status in STATUSES_OR_NONE:
        if found.recorded[status] or found.previewed[status]:
            counts.add_row(status, f"{found.recorded[status]:,}", f"{found.previewed[status]:,}")
    changed = Table(Column("flow"), Column("key", no_wrap=True), "now", "then", "why", box=None, pad_edge=False)
    for one in found.differences[:shown]:
        why = "; ".join(issue.detail for issue in one.issues)
        changed.add_row(one.flow, _text(one.key), one.recorded, one.previewed, _text(why))
    said = [f"Stories compared: {found.instances:,}. With another status: {len(found.differences):,}."]
    if found.contradictory:
        said.append(f"Left out for their contradictions, as only stored events are judged: {found.contradictory:,}.")
    if (left := len(found.differences) - shown) > 0:
        said.append(f"Not shown, see --limit: {left:,}.")
    shown_changes: list[RenderableType] = [changed, ""] if found.differences else []
    return Group(counts, "", *shown_changes, *said)


def events(found: list[Event]) -> RenderableType:
    """One line an event."""
    if not found:
        return _NO_EVENTS
    names = ("received", "cloud", "type", "id", "order", "customer", "amount")
    table = Table(*(Column(name, overflow="fold") for name in names), box=None, pad_edge=False)
    for event in found:
        texts = (event.type, event.id, event.order_id, event.customer_id)
        amount = "" if event.amount is None else str(event.amount)
        table.add_row(_moment(event.received_at), event.source, *map(_text, texts), amount)
    return table


def line(item: EventSummary | FlowChange) -> str:
    """One thing that just happened, as a line."""
    match item:
        case EventSummary():
            words = [_moment(item.received_at), f"{item.source:<5}", item.type, item.id, item.order_id or ""]
        case FlowChange():
            words = [_moment(item.opened_at), item.flow, item.key, item.status, ", ".join(item.issues)]
        case _:
            assert_never(item)
    return _printable("  ".join(word for word in words if word)) + "\n"


def _text(sent: str | None) -> Text:
    """What a sender wrote, without anything by which it could steer the terminal."""
    return Text(_printable(sent or ""))


def _printable(sent: str) -> str:
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in sent)


def _moment(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _status(status: FlowStatus) -> Text:
    styles: dict[FlowStatus, str] = {
        "open": "cyan",
        "matched": "green",
        "matched_late": "green",
        "mismatched": "red",
        "incomplete": "red",
    }
    return Text(status.replace("_", " "), style=styles[status])
