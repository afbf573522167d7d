"""``helios resolutions``: what people decide about flow instances, one by one, in bulk, or from a CSV file."""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from helios.cli.flows import client, common_options, positive_int
from helios.cli.listing import add_filter, write_for_programs, write_rows
from helios.cli.terminal import note, unescaped, write_json, write_line
from helios.cli.times import TIME_FORMAT, moment, utc_text
from helios.client import Client
from helios.errors import ConfigurationError, Rejected
from helios.model.flows import ISSUE_KINDS, RESOLUTION_STATES, STATUSES, Assignee
from helios.model.resolutions import (
    MAX_INSTANCES,
    NEED_TEXT,
    STEPS,
    FlowName,
    InstanceKey,
    InstanceName,
    ResolutionAction,
    ResolutionFilter,
    ResolutionRequest,
    Step,
    Text,
    Workload,
)

HELP: Final[dict[Step, str]] = {
    "assign": "assign flow instances to a person, or to nobody without --to",
    "note": "add a note to flow instances",
    "accept": "accept flow instances as they are",
    "write_off": "write flow instances off",
    "reopen": "take back the decision on flow instances",
}

COLUMNS: Final = ("flow", "key", "step", "text", "assignee")
"""The columns of a CSV file; ``text`` and ``assignee`` may be left out."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; each action sets ``run``, which takes the parsed arguments."""
    text = "assign, annotate, accept, write off and reopen flow instances, and undo that"
    actions = commands.add_parser("resolutions", help=text, description=text).add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    for step in STEPS:
        parser = actions.add_parser(
            step.replace("_", "-"), help=HELP[step], description=HELP[step], parents=[common_options(), _selection()]
        )
        if step == "assign":
            parser.add_argument("--to", metavar="PERSON", help="the person; without it the assignment is removed")
        else:
            parser.add_argument("--text", required=step in NEED_TEXT, help="the note, or the reason of the decision")
        parser.set_defaults(run=_take, step=step, to=None, text=None)
    text = "restore what an action has changed, except for what a later action has changed again"
    undo = actions.add_parser("undo", help=text, description=text, parents=[common_options()])
    undo.add_argument("id", type=positive_int, help="the action's id")
    undo.set_defaults(run=_undo)
    text = "list what people did, the newest first"
    listing = actions.add_parser("list", help=text, description=text, parents=[common_options(lists=True)])
    listing.add_argument("--limit", type=positive_int, default=20, metavar="N", help="at most N lines (%(default)s)")
    listing.add_argument("--flow", default="order", help="with --key: the flow (%(default)s)")
    listing.add_argument("--key", help="only what concerned the flow instance with this key")
    listing.set_defaults(run=_list)
    text = "count the problems that nobody has resolved, by flow, age and assignee"
    workload = actions.add_parser("workload", help=text, description=text, parents=[common_options(lists=True)])
    workload.set_defaults(run=_workload)
    text = f"take the steps of a CSV file, which has the columns {', '.join(COLUMNS)}"
    load = actions.add_parser("import", help=text, description=text, parents=[common_options()])
    load.add_argument("file", type=Path, help="the file")
    load.set_defaults(run=_import)


def _selection() -> argparse.ArgumentParser:
    """The options that select flow instances: a parent for a parser."""
    parser = argparse.ArgumentParser(add_help=False)
    add = parser.add_argument
    add("keys", nargs="*", metavar="KEY", help="the keys of flow instances; or none, and a filter")
    add("--flow", help="the flow; with keys, order by default")
    add_filter(parser, "--status", STATUSES, "only with this status", default=[])
    add_filter(parser, "--issue", ISSUE_KINDS, "only with this issue", default=[])
    add_filter(parser, "--resolution", RESOLUTION_STATES, "only with this one", default=[])
    add("--assignee", help="only those assigned to this person")
    add("--beginning", metavar="TEXT", help="only keys that begin with this text")
    add("--since", type=moment, metavar="TIME", help=f"only those opened at or after this time, {TIME_FORMAT}")
    add("--until", type=moment, metavar="TIME", help=f"only those opened before this time, {TIME_FORMAT}")
    add("--dry-run", action="store_true", help="only count them")
    return parser


def _take(options: argparse.Namespace) -> None:
    where = ResolutionFilter(
        flow=options.flow,
        status=tuple(options.status),
        issue=tuple(options.issue),
        key=options.beginning,
        resolution=tuple(options.resolution),
        assignee=options.assignee,
        since=options.since,
        until=options.until,
    )
    if options.keys and replace(where, flow=None) != ResolutionFilter():
        raise ConfigurationError("resolutions takes keys or a filter, but not both")
    named = tuple(InstanceName(options.flow or "order", key) for key in options.keys)
    request = ResolutionRequest(
        step=options.step,
        instances=named or None,
        filter=None if named else where,
        text=options.text,
        assignee=options.to,
        dry_run=options.dry_run,
    )
    _print(options, _checked(client(options), request))


def _checked(api: Client, request: ResolutionRequest) -> ResolutionAction:
    """Send a request whose parts fit together."""
    try:
        request.check()
    except Rejected as error:
        raise ConfigurationError(f"{error.field} {error}") from error
    return api.resolve(request)


def _undo(options: argparse.Namespace) -> None:
    _print(options, client(options).undo_resolution(options.id))


def _list(options: argparse.Namespace) -> None:
    flow = options.flow if options.key else None
    rows = client(options).resolutions(flow=flow, key=options.key, limit=options.limit)
    if not write_for_programs(options, rows, ResolutionAction.__struct_fields__):
        write_rows(map(_line, rows), none="No resolution matches.")


def _workload(options: argparse.Namespace) -> None:
    rows = client(options).workload()
    if write_for_programs(options, rows, Workload.__struct_fields__):
        return
    for row in rows:
        overdue = f", {row.overdue:,} overdue" if row.overdue else ""
        age = f"older than {row.older_than_seconds / 3600:g} h"
        write_line(f"{row.instances:>8,}  {row.flow:<12} {age:<18} {row.assignee or 'nobody'}{overdue}")
    write_line(f"{sum(row.instances for row in rows):>8,}  unresolved problems")


def _import(options: argparse.Namespace) -> None:
    """Sends one request for all rows with the same step, text and assignee, so that each group is undone in one."""
    api = client(options)
    requests = list(_requests(options.file))
    if len(requests) > 1:  # one request changes everything or nothing; of several, none may fail after another
        for request in requests:
            api.resolve(replace(request, dry_run=True))
    for request in requests:
        _print(options, api.resolve(request))


def _requests(path: Path) -> Iterator[ResolutionRequest]:
    """The requests of a CSV file.

    Raises:
        ConfigurationError: the file can't be read, or a row is wrong; the message names the line.
    """
    groups: dict[tuple[Step, str | None, str | None], list[InstanceName]] = {}
    for row in _rows(path):
        groups.setdefault((row.step, row.text, row.assignee), []).append(InstanceName(row.flow, row.key))
    for (step, text, assignee), named in groups.items():
        for start in range(0, len(named), MAX_INSTANCES):
            yield ResolutionRequest(
                step=step, text=text, assignee=assignee, instances=tuple(named[start : start + MAX_INSTANCES])
            )


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    flow: FlowName
    key: InstanceKey
    step: Step
    text: Text | None = None
    assignee: Assignee | None = None

    def check(self) -> None:
        """Raise Rejected if the text or the assignee does not fit the step."""
        named = (InstanceName(self.flow, self.key),)
        ResolutionRequest(step=self.step, text=self.text, assignee=self.assignee, instances=named).check()


def _rows(path: Path) -> list[_Row]:
    rows = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            for fields in reader:
                if None in fields or None in fields.values():
                    raise ConfigurationError(f"{path}:{reader.line_num}: the line has another number of columns")
                values = {name: unescaped(value) for name, value in fields.items() if value}
                try:
                    row = msgspec.convert(values, _Row)
                    row.check()
                except msgspec.ValidationError as error:
                    raise ConfigurationError(f"{path}:{reader.line_num}: {error}") from error
                except Rejected as error:
                    raise ConfigurationError(f"{path}:{reader.line_num}: {error.field} {error}") from error
                rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path} can't be read as CSV in UTF-8: {error}") from error
    if not rows:
        raise ConfigurationError(f"{path} has no rows below its line of names: {', '.join(COLUMNS)}")
    return rows


def _print(options: argparse.Namespace, action: ResolutionAction) -> None:
    if options.json:
        write_json(action)
        return
    write_line(_line(action))
    if action.skipped:
        note(f"{action.skipped} flow instances were changed again later, and are as they were")


def _line(action: ResolutionAction) -> str:
    what = f"undo {action.undoes}" if action.undoes else action.step
    if action.step == "assign":
        what += f" to {action.assignee or 'nobody'}"
    number = "dry run" if action.id is None else f"{action.id:>7}"
    undone = f" (undone by {action.undone_by})" if action.undone_by else ""
    text = f": {action.text}" if action.text else ""
    return f"{number}  {utc_text(action.at)}  {action.actor}  {what}  {action.instances:,} flow instances{text}{undone}"
