"""The commands that query: ``helios flows``, ``flow``, ``events``, ``tail`` and ``preview``."""

import argparse
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

from helios.cli.listing import add_filter, format_options, write_for_programs
from helios.cli.terminal import note, write_json, write_line
from helios.client import TOKEN, Client
from helios.errors import ConfigurationError
from helios.model.events import Event
from helios.model.flows import ISSUE_KINDS, PROBLEMS, RESOLUTION_STATES, STATUSES, FlowInstance
from helios.model.sources import SOURCE_PATTERN
from helios.reconciliation import declaration
from helios.reconciliation.preview import Difference, longest_time_to_deadline, preview
from helios.sources import declaration as source_declaration

DEFAULT_URL = "http://127.0.0.1:8001"
PAUSE_SECONDS = 0.5
SOURCES_FILE = "HELIOS_SOURCES_FILE"


def common_options(*, lists: bool = False) -> argparse.ArgumentParser:
    """The options of every command that queries the API: a parent for its parser.

    Args:
        lists: whether the command lists, so that its output can be CSV too.
    """
    common = argparse.ArgumentParser(add_help=False)
    add = common.add_argument
    add("--url", default=os.environ.get("HELIOS_URL", DEFAULT_URL), help="the API's URL (HELIOS_URL; %(default)s)")
    if lists:
        format_options(common)
    else:
        add("--json", action="store_true", help="print JSON lines instead of a table")
    return common


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to a parser; each sets ``run``, which takes the parsed arguments."""
    listing = argparse.ArgumentParser(add_help=False)
    listing.add_argument("--limit", type=positive_int, default=50, metavar="N", help="at most N lines (%(default)s)")

    def command(name: str, text: str, run: Callable[[argparse.Namespace], None], *, lists: bool) -> Any:
        parser = commands.add_parser(
            name, help=text, description=text, parents=[common_options(lists=lists), *([listing] if lists else [])]
        )
        parser.set_defaults(run=run)
        return parser

    flows = command("flows", "list the flow instances with a problem, the newest first", _flows, lists=True)
    add_filter(flows, "--status", STATUSES, "flow instances with this status instead")
    add_filter(flows, "--issue", ISSUE_KINDS, "only flow instances with this issue")
    flows.add_argument("--flow", help="only this flow")
    add_filter(flows, "--resolution", RESOLUTION_STATES, "only with this resolution")
    flows.add_argument("--assignee", help="only those assigned to this person")
    flow = command("flow", "show one flow instance: each leg, its issues and its timeline", _flow, lists=False)
    flow.add_argument("key", help="the instance's key, such as the order's id")
    flow.add_argument("--flow", default="order", help="the flow (%(default)s)")
    events = command("events", "list events, the last received first", _events, lists=True)
    trial = command(
        "preview", "show what other rules would make of recent events; changes nothing", _preview, lists=True
    )
    trial.add_argument("file", help="a file of flows, in the format of HELIOS_FLOWS_FILE")
    trial.add_argument(
        "--sources",
        metavar="FILE",
        default=os.environ.get(SOURCES_FILE),
        help=f"the file that declares the sources of legs ({SOURCES_FILE}; %(default)s)",
    )
    trial.add_argument(
        "--minutes", type=positive_int, default=60, metavar="N", help="length of the period, up to now (%(default)s)"
    )
    tail = command("tail", "show events as they are stored, until Ctrl-C", _tail, lists=False)
    tail.add_argument("--flows", action="store_true", help="show flow instances as their status changes instead")
    for parser in (events, tail):
        parser.add_argument("--source", type=source_name, metavar="NAME", help="only events of this source")
        parser.add_argument("--type", help="only events of this type")
        parser.add_argument("--order", metavar="ID", help="only events of this order")


def client(options: argparse.Namespace) -> Client:
    """A client of the API at ``--url``, with the token in HELIOS_TOKEN."""
    return Client(options.url, token=os.environ.get(TOKEN))


def _flows(options: argparse.Namespace) -> None:
    status = options.status or (None if options.issue else PROBLEMS)
    rows = client(options).flows(
        flow=options.flow,
        status=status,
        issue=options.issue,
        resolution=options.resolution,
        assignee=options.assignee,
        limit=options.limit,
    )
    if not write_for_programs(options, rows, FlowInstance.__struct_fields__):
        tables = tables_module()
        tables.show(tables.flows(list(rows)))


def _flow(options: argparse.Namespace) -> None:
    instance = client(options).flow(options.flow, options.key)
    if options.json:
        write_json(instance)
        return
    tables = tables_module()
    tables.show(tables.instance(instance))


def _events(options: argparse.Namespace) -> None:
    rows = client(options).events(source=options.source, type=options.type, order_id=options.order, limit=options.limit)
    if not write_for_programs(options, rows, Event.__struct_fields__):
        tables = tables_module()
        tables.show(tables.events(list(rows)))


def _preview(options: argparse.Namespace) -> None:
    """Reads all events of the period, 500 at a time: an hour of ten a second is 72 requests."""
    sources = source_declaration.load(options.sources)
    flows = declaration.load(options.file, sources=sources)
    if not flows:
        raise ConfigurationError(f"{options.file}: the file has no [[flow]]")
    api, now = client(options), datetime.now(UTC)
    since = now - timedelta(minutes=options.minutes)
    begin = since - longest_time_to_deadline(flows)
    result = preview(
        flows, api.events(since=begin, until=now), api.flows(since=since), since=since, now=now, sources=sources
    )
    differences = [difference._asdict() for difference in result.differences[: options.limit]]
    if write_for_programs(options, differences, Difference._fields):
        return
    tables = tables_module()
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
                    write_line(tables_module().line(item))
        sys.stdout.flush()


def tables_module() -> ModuleType:
    """The module that draws tables.

    Raises:
        ConfigurationError: its library is not installed.
    """
    # Late: `helios migrate` and --json work without the library that draws tables.
    try:
        from helios.cli import tables
    except ImportError as error:
        raise ConfigurationError("Tables need the package rich (pip install rich). --json works without it.") from error
    return tables


def source_name(text: str) -> str:
    """The name of a source: the ``type`` of an option. Only the API knows which sources are declared.

    Raises:
        argparse.ArgumentTypeError: no source can have this name.
    """
    if not re.fullmatch(SOURCE_PATTERN, text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a source, such as aws, gcp, azure or stripe")
    return text


def positive_int(text: str) -> int:
    """A number of at least 1: the ``type`` of an option.

    Raises:
        argparse.ArgumentTypeError: the number is below 1.
    """
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value
