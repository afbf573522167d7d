"""``helios recoveries``: why legs are missing, and bringing them back from a cloud."""

import argparse
import time
from typing import Final

from helios.cli.flows import client, common_options, positive_int
from helios.cli.listing import write_for_programs, write_rows
from helios.cli.terminal import write_json, write_line
from helios.cli.times import utc_text
from helios.client import Client
from helios.errors import ConfigurationError, Retryable
from helios.model.recoveries import Diagnosis, Finding, Recovery

WORDS: Final[dict[Finding, str]] = {
    "never_reached_bus": "never reached the bus",
    "not_delivered": "reached the bus, not delivered",
    "refused": "delivered, refused",
    "unknown": "unknown",
}

POLL_SECONDS: Final = 0.5


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; each action sets ``run``, which takes the parsed arguments."""
    text = "say why legs of a flow instance are missing, and bring them back from a cloud"
    actions = commands.add_parser("recoveries", help=text, description=text).add_subparsers(
        dest="action", required=True
    )
    instance = argparse.ArgumentParser(add_help=False)
    instance.add_argument("key", help="the instance's key, such as the order's id")
    instance.add_argument("--flow", default="order", help="the flow (%(default)s)")
    text = "say why each missing leg of a flow instance is missing"
    why = actions.add_parser("why", help=text, description=text, parents=[common_options(lists=True), instance])
    why.set_defaults(run=_why)
    text = "bring back a missing leg of a flow instance"
    start = actions.add_parser("start", help=text, description=text, parents=[common_options(), instance])
    start.add_argument("--leg", help="the leg; without it, the only one that is missing")
    start.add_argument(
        "--wait", type=positive_int, metavar="SECONDS", help="wait for the outcome, and fail unless the leg is back"
    )
    start.set_defaults(run=_start)
    text = "list the recoveries, the newest first"
    listing = actions.add_parser("list", help=text, description=text, parents=[common_options(lists=True)])
    listing.add_argument("--limit", type=positive_int, default=20, metavar="N", help="at most N lines (%(default)s)")
    listing.add_argument("--flow", default="order", help="with --key: the flow (%(default)s)")
    listing.add_argument("--key", help="only those of the flow instance with this key")
    listing.set_defaults(run=_list)


def _why(options: argparse.Namespace) -> None:
    diagnoses = client(options).diagnoses(options.flow, options.key)
    if write_for_programs(options, diagnoses, Diagnosis.__struct_fields__):
        return
    if not diagnoses:
        write_line("no leg is missing")
    for each in diagnoses:
        found_in = f" ({each.found_in})" if each.found_in else ""
        write_line(f"{each.leg}: {WORDS[each.finding]}{found_in}. {each.detail}")


def _start(options: argparse.Namespace) -> None:
    api = client(options)
    recovery = api.recover(options.flow, options.key, options.leg or _only_missing(api, options))
    if options.wait:
        recovery = _ended(api, recovery, options.wait)
    if options.json:
        write_json(recovery)
    else:
        write_line(_line(recovery))
    if options.wait and recovery.state != "recovered":
        raise SystemExit(1)


def _only_missing(api: Client, options: argparse.Namespace) -> str:
    missing = [diagnosis.leg for diagnosis in api.diagnoses(options.flow, options.key)]
    if len(missing) != 1:
        raise ConfigurationError(f"name a leg with --leg; the missing legs are: {', '.join(missing) or 'none'}")
    return missing[0]


def _ended(api: Client, recovery: Recovery, seconds: int) -> Recovery:
    """The recovery once it has ended.

    Raises:
        Retryable: it runs for longer.
    """
    deadline = time.monotonic() + seconds
    while recovery.state == "running":
        if time.monotonic() >= deadline:
            raise Retryable(f"recovery {recovery.id} is still running: helios recoveries list shows its outcome")
        time.sleep(POLL_SECONDS)
        recovery = api.recovery(recovery.id)
    return recovery


def _list(options: argparse.Namespace) -> None:
    filters = {"flow": options.flow, "key": options.key} if options.key else {}
    rows = client(options).recoveries(**filters, limit=options.limit)
    if not write_for_programs(options, rows, Recovery.__struct_fields__):
        write_rows(map(_line, rows), none="No recovery matches.")


def _line(recovery: Recovery) -> str:
    head = f"{utc_text(recovery.requested_at)}  {recovery.id}  {recovery.flow}/{recovery.key}"
    detail = f"  {recovery.detail}" if recovery.detail else ""
    return f"{head}  {recovery.leg}  {recovery.state}  {recovery.actor}{detail}"
