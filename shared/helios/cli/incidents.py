"""``helios incidents``: lists and shows incidents; acknowledges, snoozes and assigns them."""

import argparse
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from helios.cli.flows import client, common_options, positive_int, source_name, tables_module
from helios.cli.listing import add_filter, write_for_programs
from helios.cli.terminal import write_json, write_line
from helios.cli.times import utc_text
from helios.model.incidents import INCIDENT_KINDS, Incident

SHOWN_INSTANCES = 20
"""How many flow instances ``show`` lists."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; each action sets ``run``, which takes the parsed arguments."""
    text = "list incidents, one for each cause, and work on them"
    actions = commands.add_parser("incidents", help=text, description=text).add_subparsers(dest="action", required=True)
    text = "list the open incidents, the last opened first"
    listing = actions.add_parser("list", help=text, description=text, parents=[common_options(lists=True)])
    listing.add_argument("--all", action="store_true", help="also list the resolved incidents")
    add_filter(listing, "--kind", INCIDENT_KINDS, "only of this kind")
    listing.add_argument("--flow", help="only incidents of this flow")
    listing.add_argument("--source", type=source_name, metavar="NAME", help="only incidents of this source")
    listing.add_argument("--limit", type=positive_int, default=50, metavar="N", help="at most N lines (%(default)s)")
    listing.set_defaults(run=_list)

    def action(name: str, text: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=text, description=text, parents=[common_options()])
        parser.add_argument("id", type=positive_int, metavar="ID", help="the id of the incident")
        parser.set_defaults(run=run)
        return parser

    action("show", f"show an incident, and the last {SHOWN_INSTANCES} flow instances that it counts", _show)
    acknowledge = action("acknowledge", "acknowledge an incident; needs a token with the scope resolve", _acknowledge)
    acknowledge.add_argument("--withdraw", action="store_true", help="withdraw the acknowledgement")
    snooze = action("snooze", "snooze an incident; needs a token with the scope resolve", _snooze)
    period = snooze.add_mutually_exclusive_group(required=True)
    period.add_argument("--minutes", type=positive_int, metavar="N", help="for N minutes from now")
    period.add_argument("--end", action="store_true", help="end the snooze now")
    assign = action("assign", "assign an incident; needs a token with the scope resolve", _assign)
    who = assign.add_mutually_exclusive_group(required=True)
    who.add_argument("--to", metavar="NAME", help="to this person or team")
    who.add_argument("--to-nobody", action="store_true", help="remove the assignment")


def _list(options: argparse.Namespace) -> None:
    rows = client(options).incidents(
        state=None if options.all else "open",
        kind=options.kind,
        flow=options.flow,
        source=options.source,
        limit=options.limit,
    )
    if not write_for_programs(options, rows, Incident.__struct_fields__):
        tables = tables_module()
        tables.show(tables.incidents(list(rows)))


def _show(options: argparse.Namespace) -> None:
    api = client(options)
    incident = api.incident(options.id)
    _print(options, incident)
    if options.json:
        return
    instances = list(api.incident_instances(options.id, limit=SHOWN_INSTANCES))
    if instances:
        write_line("")
        tables = tables_module()
        tables.show(tables.flows(instances))


def _lines(incident: Incident) -> Iterator[str]:
    amounts = ", ".join(f"{money.amount} {money.currency or 'without a currency'}" for money in incident.amounts)
    yield f"incident {incident.id}  {incident.severity}  {incident.title}"
    yield f"opened {utc_text(incident.opened_at)}, last seen {utc_text(incident.seen_at)}"
    if incident.resolved_at:
        yield f"resolved {utc_text(incident.resolved_at)}: {incident.resolution}"
    yield f"counts {incident.number:,}" + (f", {amounts}" if amounts else "")
    if incident.acknowledged_by and incident.acknowledged_at:
        yield f"acknowledged by {incident.acknowledged_by}, {utc_text(incident.acknowledged_at)}"
    if incident.snoozed_until:
        yield f"snoozed until {utc_text(incident.snoozed_until)}"
    if incident.assignee:
        yield f"assigned to {incident.assignee}"


def _acknowledge(options: argparse.Namespace) -> None:
    _print(options, client(options).acknowledge_incident(options.id, acknowledged=not options.withdraw))


def _snooze(options: argparse.Namespace) -> None:
    until = None if options.end else datetime.now(UTC) + timedelta(minutes=options.minutes)
    _print(options, client(options).snooze_incident(options.id, until))


def _assign(options: argparse.Namespace) -> None:
    _print(options, client(options).assign_incident(options.id, options.to))


def _print(options: argparse.Namespace, incident: Incident) -> None:
    if options.json:
        write_json(incident)
        return
    for line in _lines(incident):
        write_line(line)
