"""``helios recompute``: evaluates stored flow instances again after the rules changed. Writes to the database."""

import argparse
from collections import Counter
from datetime import UTC, datetime

from helios import bootstrap
from helios.cli import database
from helios.cli.listing import format_options, write_for_programs
from helios.cli.terminal import write_line
from helios.cli.times import TIME_FORMAT, moment
from helios.errors import ConfigurationError
from helios.model.events import EventFilter
from helios.services.recompute import RecomputeResult, recompute
from helios.services.reconciler import Reconciler


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
    format_options(parser)
    parser.set_defaults(run=_recompute)


def _recompute(options: argparse.Namespace) -> None:
    services, archive = bootstrap.with_archive(bootstrap.build(database.configure()))
    try:
        services.rules.refresh()
        if options.flow not in {None, *services.reconciler.evaluators}:
            raise ConfigurationError(f"--flow: no flow is named {options.flow!r}")

        def by_rules(reconciler: Reconciler) -> RecomputeResult:
            return recompute(
                EventFilter(since=options.since, until=options.until),
                datetime.now(UTC),
                flow=options.flow,
                reader=services.reader,
                store=services.store,
                reconciler=reconciler,
                notifier=services.notifier,
                log=services.log_edge.log if services.log_edge else None,
                dry_run=options.dry_run,
            )

        result = services.rules.apply(by_rules)
    finally:
        if archive:
            archive.close()
        services.listener.close()
        services.close()
    changes = [
        {"flow": flow, "key": key, "before": before, "after": after}
        for (flow, key), (before, after) in sorted(result.changes.items())
    ]
    if write_for_programs(options, changes, ("flow", "key", "before", "after")):
        return
    verb = "would change" if options.dry_run else "changed"
    write_line(f"{result.events:,} events read; {len(result.changes):,} flow instances {verb}")
    counts = Counter((flow, before or "none", after) for (flow, _), (before, after) in result.changes.items())
    for (flow, old_status, new_status), number in sorted(counts.items()):
        write_line(f"{flow:<20} {old_status:>12} -> {new_status:<12} {number:>9,}")
