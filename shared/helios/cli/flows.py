"""The commands that query: ``helios flows``, ``flow``, ``events``, ``tail`` and ``preview``."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any
from urllib.parse import quote

from helios.cli.client import TOKEN, Client
from helios.cli.terminal import note, write_json, write_line
from helios.errors import ConfigurationError
from helios.model.events import SOURCES, Event
from helios.model.flows import ISSUE_KINDS, PROBLEMS, STATUSES, FlowInstance, FlowInstanceDetails
from helios.reconciliation import declaration
from helios.reconciliation.preview import longest_time_to_deadline, preview

DEFAULT_URL = "http://127.0.0.1:8001"
PAUSE_SECONDS = 0.5


def common_options() -> argparse.ArgumentParser:
    """The options of every command that queries the API: a parent for its parser."""
    common = argparse.ArgumentParser(add_help=False)
    add = common.add_argument
    add("--url", default=os.environ.get("HELIOS_URL", DEFAULT_URL), help="the API's URL (HELIOS_URL; %(default)s)")
    add("--json", action="store_true", help="print JSON lines instead of a table")
    return common


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to a parser; each sets ``run``, which takes the parsed arguments."""
    common = common_options()
    listing = argparse.ArgumentParser(add_help=False)
    listing.add_argument("--limit", type=positive_int, default=50, metavar="N", help="at most N lines (%(default)s)")

    def command(name: str, text: str, run: Callable[[argparse.Namespace], None], *, lists: bool) -> Any:
        parser = commands.add_parser(name, help=text, description=text, parents=[common, *([listing] if lists else [])])
        parser.set_defaults(run=run)
        return parser

    flows = command("flows", "list the flow instances with a problem, the newest first", _flows, lists=True)
    flows.add_argument(
        "--status", action="append", choices=STATUSES, help="flow instances with this status instead; repeatable"
    )
    flows.add_argument(
        "--issue", action="append", choices=ISSUE_KINDS, help="only flow instances with this issue; repeatable"
    )
    flows.add_argument("--flow", help="only this flow")
    flow = command("flow", "show one flow instance: each leg, its issues and its timeline", _flow, lists=False)
    flow.add_argument("key", help="the instance's key, such as the order's id")
    flow.add_argument("--flow", default="order", help="the flow (%(default)s)")
    events = command("events", "list events, the last received first", _events, lists=True)
    trial = command(
        "preview", "show what other rules would make of recent events; changes nothing", _preview, lists=True
    )
    trial.add_argument("file", help="a file of flows, in the format of HELIOS_FLOWS_FILE")
    trial.add_argument(
        "--minutes", type=positive_int, default=60, metavar="N", help="length of the period, up to now (%(default)s)"
    )
    tail = command("tail", "show events as they are stored, until Ctrl-C", _tail, lists=False)
    tail.add_argument("--flows", action="store_true", help="show flow instances as their status changes instead")
    for parser in (events, tail):
        parser.add_argument("--source", choices=SOURCES, help="only events of this cloud")
        parser.add_argument("--type", help="only events of this type")
        parser.add_argument("--order", metavar="ID", help="only events of this order")


def client(options: argparse.Namespace) -> Client:
    """A client of the API at ``--url``, with the token in HELIOS_TOKEN."""
    return Client(options.url, token=os.environ.get(TOKEN))


def _flows(options: argparse.Namespace) -> None:
    status = options.status or (None if options.issue else PROBLEMS)
    rows = client(options).items(
        "flows", FlowInstance, limit=options.limit, flow=options.flow, status=status, issue=options.issue
    )
    _show(options, rows, "flows")


def _flow(options: argparse.Namespace) -> None:
    path = f"flows/{quote(options.flow, safe='')}/{quote(options.key, safe='')}"
    _show(options, [client(options).get(path, FlowInstanceDetails)], "instance")


def _events(options: argparse.Namespace) -> None:
    rows = client(options).items(
        "events", Event, limit=options.limit, source=options.source, type=options.type, order_id=options.order
    )
    _show(options, rows, "events")


def _preview(options: argparse.Namespace) -> None:
    """Reads all events of the period, 500 at a time: an hour of ten a second is 72 requests."""
    flows = declaration.load(options.file)
    if not flows:
        raise ConfigurationError(f"{options.file}: the file has no [[flow]]")
    api, now = client(options), datetime.now(UTC)
    since = now - timedelta(minutes=options.minutes)
    begin = since - longest_time_to_deadline(flows)
    events = api.items("events", Event, limit=sys.maxsize, since=begin.isoformat(), until=now.isoformat())
    recorded = api.items("flows", FlowInstance, limit=sys.maxsize, since=since.isoformat())
    result = preview(flows, events, recorded, since=since, now=now)
    if options.json:
        for difference in result.differences[: options.limit]:
            write_json(difference._asdict())
        return
    tables = _tables()
    tables.show(tables.preview(result, limit=options.limit))


def _tail(options: argparse.Namespace) -> None:
    """Frames show a sample of at most 100 events each; a note counts the events that a frame leaves out."""
    fields = {"source": options.source, "type": options.type, "order_id": options.order}
    filters = [(name, value) for name, value in fields.items() if value]
    if options.flows and filters:
        raise ConfigurationError("tail --flows takes no filter. Leave out --source, --type and --order.")
    for frame in client(options).follow(pause_seconds=PAUSE_SECONDS, note=note):
        if frame.replay:
            note(f"replay job {frame.replay} sends {len(frame.events)} stored events again")
            continue
        stored = sum(count.stored for count in frame.counts)
        if not options.flows and (omitted := stored - len(frame.events)) > 0:
            note(f"{omitted} more events were stored at the same time; `helios events` lists them")
        for item in frame.flows if options.flows else frame.events:
            if all(getattr(item, name) == value for name, value in filters):
                if options.json:
                    write_json(item)
                else:
                    write_line(_tables().line(item))
        sys.stdout.flush()


def _show(options: argparse.Namespace, items: Iterable[object], shape: str) -> None:
    if options.json:
        for item in items:
            write_json(item)
    else:
        tables = _tables()
        tables.show(getattr(tables, shape)(list(items)))


def _tables() -> ModuleType:
    # Late: `helios migrate` and --json work without the library that draws tables.
    try:
        from helios.cli import tables
    except ImportError as error:
        raise ConfigurationError("Tables need `pip install 'helios[cli]'`. --json works without it.") from error
    return tables


def positive_int(text: str) -> int:
    """A number of at least 1: the ``type`` of an option.

    Raises:
        argparse.ArgumentTypeError: the number is below 1.
    """
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value
