"""``helios log``: creates the topics of the log."""

import argparse

from helios import bootstrap
from helios.cli.flows import positive_int
from helios.cli.terminal import write_line


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; it sets ``run``, which takes the parsed arguments."""
    text = "create the topics of the log (HELIOS_LOG_BROKERS, HELIOS_LOG_PREFIX)"
    actions = commands.add_parser("log", help=text, description=text).add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="create the topics that do not exist; others stay as they are")
    create.add_argument("--partitions", type=positive_int, default=12, metavar="N", help="of each topic (%(default)s)")
    create.add_argument(
        "--replicas", type=positive_int, default=3, metavar="N", help="of each partition, on N brokers (%(default)s)"
    )
    create.add_argument(
        "--retention-days",
        type=positive_int,
        default=7,
        metavar="N",
        help="how long deliveries, events and dead letters stay in the log (%(default)s)",
    )
    create.set_defaults(run=_create)


def _create(options: argparse.Namespace) -> None:
    created = bootstrap.create_log(
        bootstrap.configure(require=["log_brokers"]),
        partitions=options.partitions,
        replicas=options.replicas,
        retention_days=options.retention_days,
    )
    write_line(f"created: {', '.join(created) or 'nothing, the topics exist'}")
