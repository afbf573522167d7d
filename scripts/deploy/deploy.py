"""``python -m scripts.deploy``: Helios in three clouds, or in some of them; ``--dry-run`` shows how.

AWS comes first, since it has the database, the API and the dashboard, and once more at the end, when the addresses are
known from which the other clouds will call the database. The database is brought up to date before any code that needs
it so. Every step may be done again: run it anew after a failure.
"""

import argparse
import ipaddress
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.tokens import PostgresTokens
from helios.cli.client import TOKEN
from helios.model.events import SOURCES
from helios.model.tokens import Token, digest, mint
from scripts.deploy import dashboard_upload
from scripts.deploy.clouds import CLOUDS, Cloud, chosen, not_ready
from scripts.deploy.plan import Step, StepFailed, carry_out
from scripts.deploy.terraform import apply, init, outputs, set_in, setting, told

_AWS: Final = CLOUDS["aws"]
_DATABASE: Final = ("module.network", "module.database")
"""What of AWS' root has to be there before the database can be brought up to date from here."""
_PASSED_ON: Final = {
    "aws": ("database_clients",),
    "gcp": ("database_url", "notify_url", "notify_secret"),
    "azure": ("database_url", "notify_url", "notify_secret"),
}
"""The variables that are told each root from here; a file of its own would silently win."""

Clients = Mapping[str, str | None]
"""An IPv4 range for each name; None: whoever had that name may connect no longer."""


def steps(clouds: Sequence[Cloud], *, clients: Clients, yes: bool, migrate: bool, smoke: bool) -> list[Step]:
    """The whole deployment.

    Args:
        clouds: where to; those that are left out keep what they have, and AWS knows who they are.
        clients: who else may connect to Aurora from now on, or no longer.
        yes: whether Terraform's plans are agreed to beforehand.
        migrate: whether the database is brought up to date from here.
        smoke: whether one order is published in the end. It takes all three clouds.
    """
    python = sys.executable
    others = [cloud for cloud in clouds if cloud is not _AWS]
    database_clients = partial(_database_clients, clients, others)
    planned = [
        *_packages(clouds),
        *map(init, (_AWS, *others)),
    ]
    if migrate:
        if _AWS in clouds:
            planned.append(apply(_AWS, database_clients, yes=yes, only=_DATABASE))
        planned.append(
            Step(
                "bring the database up to date, from here",
                (python, "-m", "helios", "migrate"),
                environment=lambda: {"HELIOS_DATABASE_URL": told(_AWS, "database_url")},
            )
        )
    if _AWS in clouds:
        planned.append(apply(_AWS, database_clients, yes=yes))
    planned.extend(apply(cloud, _from_aws, yes=yes) for cloud in others)
    if _AWS in clouds and others:
        planned.append(apply(_AWS, database_clients, yes=yes, why="to let the other clouds in"))
    if _AWS in clouds:
        planned.append(Step("build the dashboard", (python, "-m", "local.demo.dashboard_build")))
        planned.extend(dashboard_upload.steps(_AWS))
    if smoke:
        planned.append(
            Step(
                "publish one order through each cloud, and wait until it is matched",
                (python, "-m", "scripts.deploy.smoke", "--deployed"),
                environment=_reader,
            )
        )
    return planned


def _packages(clouds: Sequence[Cloud]) -> list[Step]:
    """Those of AWS for the processor that its root is told."""
    processor = {"aws": ("--architecture", setting(_AWS, "architecture") or "x86_64")}
    return [
        Step(
            f"build the packages for {cloud.source}",
            (sys.executable, "-m", "scripts.build.package", *processor.get(cloud.source, ()), *cloud.packages),
        )
        for cloud in clouds
    ]


def _database_clients(given: Clients, others: Sequence[Cloud]) -> dict[str, object]:
    """Whoever may connect to Aurora already, the other clouds' fixed addresses if they are known, and those given."""
    known = outputs(_AWS).get("database_clients") or {}
    addresses = {str(cloud.source): outputs(cloud).get("egress_address") for cloud in others}
    fixed = {source: f"{address}/32" for source, address in addresses.items() if address}
    merged = {**known, **fixed, **given}
    return {"database_clients": {name: range_ for name, range_ in merged.items() if range_}}


def unreachable(clients: Clients) -> list[str]:
    """Why this machine can't connect to the database, as far as that is known before anything is done: a sentence."""
    if setting(_AWS, "database_url"):
        return []  # somebody's own, with a firewall of its own
    try:
        known = outputs(_AWS).get("database_clients") or {}
    except (StepFailed, OSError):  # not initialised here, or no Terraform, which not_ready() tells
        known = {}
    if any({**known, **clients}.get(name) for name in {*known, *clients} - {*SOURCES}):
        return []
    remedy = "say --client me=YOUR.IP.AD.DRESS/32, with AWS among the clouds; or --no-migrate --no-smoke"
    return [f"Aurora answers to nobody here: {remedy}"]


def outvoted(clouds: Sequence[Cloud]) -> list[str]:
    """The variables that are told by these roots' own files and by this script too: a sentence for each."""
    return [
        f"{cloud.source}: {file.name} sets {name}, and would win over what is passed on from here: take it out"
        f"{', and name them with --client' if name == 'database_clients' else ''}"
        for cloud in clouds
        for name in _PASSED_ON[cloud.source]
        if (file := set_in(cloud, name))
    ]


def _reader() -> dict[str, str]:
    """The token of whoever deploys; without one, a new one that is good for an hour."""
    if token := os.environ.get(TOKEN):
        return {TOKEN: token}
    secret, now = mint(), datetime.now(UTC)
    token_kept = Token(
        name=f"deploy-{now:%Y%m%dT%H%M%SZ}", scopes=("read",), created_at=now, expires_at=now + timedelta(hours=1)
    )
    with open_pool(told(_AWS, "database_url"), connections=1, timeout_seconds=30) as pool:
        PostgresTokens(pool).add(digest(secret), token_kept)
    return {TOKEN: secret}


def _from_aws() -> dict[str, object]:
    """What the other roots ask of AWS'."""
    return {
        "database_url": told(_AWS, "database_url"),
        "notify_url": f"{told(_AWS, 'api_url')}/api/v1/relay/notify",
        "notify_secret": told(_AWS, "notify_secret"),
    }


def _client(text: str) -> tuple[str, str | None]:
    """``NAME=RANGE``, checked; or ``NAME=``."""
    name, separator, addresses = text.partition("=")
    try:
        return name, str(ipaddress.IPv4Network(addresses)) if addresses or not separator else None
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=RANGE, such as me=198.51.100.7/32: {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, show the plan, and carry it out."""
    parser = argparse.ArgumentParser(prog="deploy", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cloud", action="append", choices=SOURCES, help="only this one; may be said twice")
    parser.add_argument(
        "--client",
        action="append",
        type=_client,
        default=[],
        metavar="NAME=RANGE",
        help="who else may connect to Aurora from now on, such as me=198.51.100.7/32: you, for the migration;\n"
        "without a range (me=): no longer. Whoever is not named may do what they could",
    )
    parser.add_argument("--no-migrate", action="store_true", help="leave the database to somebody who reaches it")
    parser.add_argument("--no-smoke", action="store_true", help="publish nothing in the end")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument("--yes", action="store_true", help="agree to everything beforehand, Terraform's plans included")
    given = parser.parse_args(arguments)
    clouds, clients = chosen(given.cloud), dict(given.client)
    migrate = not given.no_migrate
    smoke = len(clouds) == len(CLOUDS) and not given.no_smoke
    missing = [reason for cloud in chosen(["aws", *(one.source for one in clouds)]) for reason in not_ready(cloud)]
    missing += outvoted(clouds)
    if clients and _AWS not in clouds:
        missing.append("--client changes what AWS lets in: deploy it too, with --cloud aws")
    elif migrate or (smoke and TOKEN not in os.environ):
        missing += unreachable(clients)
    return carry_out(
        steps(clouds, clients=clients, yes=given.yes, migrate=migrate, smoke=smoke),
        missing=missing,
        dry_run=given.dry_run,
        yes=given.yes,
        program=parser.prog,
    )
