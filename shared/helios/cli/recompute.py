"""``python -m helios recompute``: verdicts anew after the rules have changed. It writes to the database itself."""

import argparse
import sys
from collections import Counter
from datetime import UTC, datetime

import msgspec

from helios import bootstrap
from helios.cli.times import FORM, moment
from helios.errors import ConfigurationError
from helios.model.events import EventFilter
from helios.services.recompute import recompute


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; it sets ``run``, which takes the parsed arguments."""
    text = (
        "judge the stories of stored events anew by the flows that are declared, in the database of HELIOS_DATABASE_URL"
    )
    parser = commands.add_parser("recompute", help=text, description=text)
    parser.add_argument("--flow", help="only of this flow")
    parser.add_argument("--since", type=moment, metavar="TIME", help=f"of events received then or later, {FORM}")
    parser.add_argument("--until", type=moment, metavar="TIME", help=f"of events received before, {FORM}")
    parser.add_argument("--dry-run", action="store_true", help="only say what would change")
    parser.add_argument("--json", action="store_true", help="a JSON line for each story that changes, instead of sums")
    parser.set_defaults(run=_recompute)


def _recompute(given: argparse.Namespace) -> None:
    services = bootstrap.build(bootstrap.configure())
    try:
        if given.flow not in {None, *services.reconciler.evaluators}:
            raise ConfigurationError(f"--flow: there is no flow {given.flow!r}")
        found = recompute(
            EventFilter(since=given.since, until=given.until),
            datetime.now(UTC),
            flow=given.flow,
            reader=services.reader,
            store=services.store,
            reconciler=services.reconciler,
            notifier=services.notifier,
            dry_run=given.dry_run,
        )
    finally:
        services.listener.close()
        services.close()
    if given.json:
        for (flow, key), (before, after) in sorted(found.changes.items()):
            line = {"flow": flow, "key": key, "before": before, "after": after}
            sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        return
    verb = "would be" if given.dry_run else "were"
    sys.stdout.write(f"{found.events:,} events read; {len(found.changes):,} stories {verb} written anew\n")
    sums = Counter((flow, before or "none", after) for (flow, _), (before, after) in found.changes.items())
    for (flow, was, is_now), number in sorted(sums.items()):
        sys.stdout.write(f"{flow:<20} {was:>12} -> {is_now:<12} {number:>9,}\n")
