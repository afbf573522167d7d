"""``helios recompute``: evaluates stored flow instances again after the rules changed. Writes to the database."""

import argparse
from collections import Counter
from datetime import UTC, datetime

from helios import bootstrap
from helios.cli.terminal import write_json, write_line
from helios.cli.times import TIME_FORMAT, moment
from helios.errors import ConfigurationError
from helios.model.events import EventFilter
from helios.services.recompute import recompute


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; it sets ``run``, which takes the parsed arguments."""
    text = (
        "evaluate the flow instances of stored events again with the flows that are declared now, in the database of "
        "HELIOS_DATABASE_URL"
    )
    parser = commands.add_parser("recompute", help=text, description=text)
    parser.add_argument("--flow", help="only this flow")
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help=f"only events received at or after this time, {TIME_FORMAT}"
    )
    parser.add_argument(
        "--until", type=moment, metavar="TIME", help=f"only events received before this time, {TIME_FORMAT}"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    parser.add_argument(
        "--json", action="store_true", help="print a JSON line for each instance that changes, instead of counts"
    )
    parser.set_defaults(run=_recompute)


def _recompute(options: argparse.Namespace) -> None:
    services = bootstrap.build(bootstrap.configure())
    try:
        if options.flow not in {None, *services.reconciler.evaluators}:
            raise ConfigurationError(f"--flow: no flow is named {options.flow!r}")
        result = recompute(
            EventFilter(since=options.since, until=options.until),
            datetime.now(UTC),
            flow=options.flow,
            reader=services.reader,
            store=services.store,
            reconciler=services.reconciler,
            notifier=services.notifier,
            dry_run=options.dry_run,
        )
    finally:
        services.listener.close()
        services.close()
    if options.json:
        for (flow, key), (before, after) in sorted(result.changes.items()):
            line = {"flow": flow, "key": key, "before": before, "after": after}
            write_json(line)
        return
    verb = "would change" if options.dry_run else "changed"
    write_line(f"{result.events:,} events read; {len(result.changes):,} flow instances {verb}")
    counts = Counter((flow, before or "none", after) for (flow, _), (before, after) in result.changes.items())
    for (flow, old_status, new_status), number in sorted(counts.items()):
        write_line(f"{flow:<20} {old_status:>12} -> {new_status:<12} {number:>9,}")
