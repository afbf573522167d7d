"""``helios balances``: lists what was published and what arrived of it; sends a manifest."""

import argparse
import os
from datetime import UTC, datetime, timedelta

from helios.cli.flows import client, common_options, positive_int, source_name, tables_module
from helios.cli.listing import add_filter, write_for_programs
from helios.cli.terminal import write_json, write_line
from helios.cli.times import moment
from helios.client import Client, NewEvent
from helios.model.balances import BALANCE_STATES, MANIFEST_TYPE, Balance
from helios.model.sources import BUILT_IN

SIGNING_SECRET = "HELIOS_CLOUDEVENTS_SECRET"  # noqa: S105 - the variable's name
"""The setting of the API with which ``send`` signs its request, where the API requires it."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; each action sets ``run``, which takes the parsed arguments."""
    text = "compare what producers have published with what arrived"
    actions = commands.add_parser("balances", help=text, description=text).add_subparsers(dest="action", required=True)
    text = "list what was published and what arrived, by minute, source and type, the newest minute first"
    listing = actions.add_parser("list", help=text, description=text, parents=[common_options(lists=True)])
    add_filter(listing, "--state", BALANCE_STATES, "only in this state")
    listing.add_argument("--source", type=source_name, metavar="NAME", help="only events of this source")
    listing.add_argument("--type", help="only events of this type")
    listing.add_argument("--since", type=moment, metavar="TIME", help="only minutes from this time on")
    listing.add_argument("--limit", type=positive_int, default=50, metavar="N", help="at most N lines (%(default)s)")
    listing.set_defaults(run=_list)
    text = "send a manifest: how many events a producer has published in one minute"
    send = actions.add_parser("send", help=text, description=text, parents=[common_options()])
    send.add_argument("--cloud", choices=BUILT_IN, help="the cloud of the events, if their producer does not name it")
    send.add_argument("--producer", required=True, help="whose events these are, as in `producer` of a stored event")
    send.add_argument("--type", required=True, help="the type of the events")
    send.add_argument("--published", required=True, type=int, metavar="N", help="how many were published")
    send.add_argument(
        "--minute", type=moment, metavar="TIME", help="the minute; by default the one that has ended last"
    )
    send.add_argument("--publisher", default="", metavar="NAME", help="the process that counted, if there are several")
    send.add_argument("--advisory", action="store_true", help="only show the count, such as a metric of the cloud")
    send.set_defaults(run=_send)


def _list(options: argparse.Namespace) -> None:
    rows = client(options).balances(
        state=options.state, source=options.source, type=options.type, since=options.since, limit=options.limit
    )
    if not write_for_programs(options, rows, Balance.__struct_fields__):
        tables = tables_module()
        tables.show(tables.balances(list(rows)))


def _send(options: argparse.Namespace) -> None:
    minute = options.minute or datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=1)
    manifest = NewEvent(
        source=options.producer,
        cloud=options.cloud,
        type=MANIFEST_TYPE,
        data={
            "minute": minute,
            "events": [{"type": options.type, "published": options.published}],
            "publisher": options.publisher,
            "advisory": options.advisory,
        },
    )
    secrets = os.environ.get(SIGNING_SECRET, "").split()
    (result,) = Client(options.url, signing_secret=secrets[0] if secrets else None).send(manifest)
    if options.json:
        write_json(result)
    else:
        write_line(f"{result.status}: {options.published:,} {options.type} in the minute {minute:%Y-%m-%dT%H:%MZ}")
