"""The commands that ask: ``flows``, ``flow``, ``events``, ``tail`` and ``preview``."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any
from urllib.parse import quote

import msgspec

from helios.cli.client import Client
from helios.errors import ConfigurationError
from helios.model.events import SOURCES, Event
from helios.model.flows import ISSUE_KINDS, PROBLEMS, STATUSES, FlowInstance, FlowInstanceDetails
from helios.reconciliation import declaration
from helios.reconciliation.preview import longest_time_to_deadline, preview

DEFAULT_URL = "http://127.0.0.1:8001"
PAUSE_SECONDS = 0.5


def common_options() -> argparse.ArgumentParser:
    """What every command that asks the API takes: a parent for its parser."""
    common = argparse.ArgumentParser(add_help=False)
    add = common.add_argument
    add("--url", default=os.environ.get("HELIOS_URL", DEFAULT_URL), help="where the API is (HELIOS_URL; %(default)s)")
    add("--json", action="store_true", help="JSON lines instead of a table")
    return common


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to a parser; each sets ``run``, which takes the parsed arguments."""
    common = common_options()
    listing = argparse.ArgumentParser(add_help=False)
    listing.add_argument("--limit", type=natural, default=50, metavar="N", help="most lines (%(default)s)")

    def command(name: str, text: str, run: Callable[[argparse.Namespace], None], *, lists: bool) -> Any:
        parser = commands.add_parser(name, help=text, description=text, parents=[common, *([listing] if lists else [])])
        parser.set_defaults(run=run)
        return parser

    flows = command("flows", "list the orders on which the clouds do not agree, the newest first", _flows, lists=True)
    flows.add_argument("--status", action="append", choices=STATUSES, help="instead: those of this status; repeatable")
    flows.add_argument("--issue", action="append", choices=ISSUE_KINDS, help="only with this issue; repeatable")
    flows.add_argument("--flow", help="only of this flow")
    flow = command("flow", "show one order: what each cloud says of it", _flow, lists=False)
    flow.add_argument("key", help="the order's id")
    flow.add_argument("--flow", default="order", help="the flow (%(default)s)")
    events = command("events", "list events, the last received first", _events, lists=True)
    trial = command("preview", "what other rules would say of the last events; changes nothing", _preview, lists=True)
    trial.add_argument("file", help="a file of flows, as HELIOS_FLOWS_FILE names one")
    trial.add_argument("--minutes", type=natural, default=60, metavar="N", help="how far back (%(default)s)")
    tail = command("tail", "show events as they are stored, until Ctrl-C", _tail, lists=False)
    tail.add_argument("--flows", action="store_true", help="instead: orders as their status changes")
    for parser in (events, tail):
        parser.add_argument("--source", choices=SOURCES, help="only of this cloud")
        parser.add_argument("--type", help="only of this type")
        parser.add_argument("--order", metavar="ID", help="only of this order")


def client(given: argparse.Namespace) -> Client:
    """The API that ``--url`` names, asked with HELIOS_TOKEN."""
    return Client(given.url, token=os.environ.get("HELIOS_TOKEN"))


def _flows(given: argparse.Namespace) -> None:
    status = given.status or (None if given.issue else PROBLEMS)
    found = client(given).items(
        "flows", FlowInstance, limit=given.limit, flow=given.flow, status=status, issue=given.issue
    )
    _show(given, found, "flows")


def _flow(given: argparse.Namespace) -> None:
    path = f"flows/{quote(given.flow, safe='')}/{quote(given.key, safe='')}"
    _show(given, [client(given).get(path, FlowInstanceDetails)], "story")


def _events(given: argparse.Namespace) -> None:
    found = client(given).items(
        "events", Event, limit=given.limit, source=given.source, type=given.type, order_id=given.order
    )
    _show(given, found, "events")


def _preview(given: argparse.Namespace) -> None:
    """Reads all events of the period, 500 at a time: an hour of ten a second is 72 requests."""
    flows = declaration.load(given.file)
    if not flows:
        raise ConfigurationError(f"{given.file}: there is no [[flow]] in it")
    api, now = client(given), datetime.now(UTC)
    since = now - timedelta(minutes=given.minutes)
    begin = since - longest_time_to_deadline(flows)
    events = api.items("events", Event, limit=sys.maxsize, since=begin.isoformat(), until=now.isoformat())
    recorded = api.items("flows", FlowInstance, limit=sys.maxsize, since=since.isoformat())
    found = preview(flows, events, recorded, since=since, now=now)
    if given.json:
        for difference in found.differences[: given.limit]:
            sys.stdout.write(_json(difference._asdict()))
        return
    tables = _tables()
    tables.show(tables.preview(found, shown=given.limit))


def _tail(given: argparse.Namespace) -> None:
    """Frames show a sample of at most 100 events each; what they leave out is said."""
    wanted = {"source": given.source, "type": given.type, "order_id": given.order}
    asked = [(name, value) for name, value in wanted.items() if value]
    if given.flows and asked:
        raise ConfigurationError("tail --flows shows orders of all clouds: leave out --source, --type and --order")
    for frame in client(given).follow(pause_seconds=PAUSE_SECONDS, note=_note):
        if frame.replay:
            _note(f"replay job {frame.replay} shows {len(frame.events)} stored events once more")
            continue
        stored = sum(count.stored for count in frame.counts)
        if not given.flows and (left := stored - len(frame.events)) > 0:
            _note(f"{left} more events were stored at the same time: see helios events")
        for item in frame.flows if given.flows else frame.events:
            if all(getattr(item, name) == value for name, value in asked):
                sys.stdout.write(_json(item) if given.json else _tables().line(item))
        sys.stdout.flush()


def _show(given: argparse.Namespace, items: Iterable[object], shape: str) -> None:
    if given.json:
        for item in items:
            sys.stdout.write(_json(item))
    else:
        tables = _tables()
        tables.show(getattr(tables, shape)(list(items)))


def _tables() -> ModuleType:
    # Late: who runs migrate, or wants JSON, needs no library that draws.
    try:
        from helios.cli import tables
    except ImportError as error:
        raise ConfigurationError("tables take pip install 'helios[cli]'; --json does without") from error
    return tables


def _json(item: object) -> str:
    return msgspec.json.encode(item).decode() + "\n"


def _note(text: str) -> None:
    sys.stderr.write(f"helios: {text}\n")


def natural(text: str) -> int:
    """A number of at least 1, for argparse."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value
