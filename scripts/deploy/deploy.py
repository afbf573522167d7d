"""``python -m scripts.deploy``: deploys Helios to three clouds, or to some of them; ``--dry-run`` shows the steps.

AWS is applied first, because it has the database, the API and the dashboard. It is applied again at the end, when the
addresses are known from which the other clouds connect to the database. The database is migrated before the code that
needs the new schema is deployed. Every step is idempotent: after a failure, run the command again.
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
from scripts.deploy.clouds import CLOUDS, Cloud, not_ready, selected
from scripts.deploy.plan import Step, StepFailed, carry_out
from scripts.deploy.terraform import apply, file_setting, init, outputs, required_output, setting

_AWS: Final = CLOUDS["aws"]
_DATABASE: Final = ("module.network", "module.database")
"""The modules of AWS' root that must exist before the database can be migrated from this machine."""
_PASSED_ON: Final = {
    "aws": ("database_clients",),
    "gcp": ("database_url", "notify_url", "notify_secret"),
    "azure": ("database_url", "notify_url", "notify_secret"),
}
"""The variables that this script sets for each root. A file of the root would silently override them."""

Clients = Mapping[str, str | None]
"""An IPv4 range for each name; None removes the client of that name."""


def steps(clouds: Sequence[Cloud], *, clients: Clients, yes: bool, migrate: bool, smoke: bool) -> list[Step]:
    """The whole deployment.

    Args:
        clouds: the clouds to deploy to. The others stay as they are, and AWS continues to admit them.
        clients: additional clients that may connect to Aurora, or that may no longer connect.
        yes: whether Terraform's plans are approved without asking.
        migrate: whether the database is migrated from this machine.
        smoke: whether the smoke test runs at the end. It needs all three clouds.
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
                "migrate the database from this machine",
                (python, "-m", "helios", "migrate"),
                environment=lambda: {"HELIOS_DATABASE_URL": required_output(_AWS, "database_url")},
            )
        )
    if _AWS in clouds:
        planned.append(apply(_AWS, database_clients, yes=yes))
    planned.extend(apply(cloud, _from_aws, yes=yes) for cloud in others)
    if _AWS in clouds and others:
        planned.append(apply(_AWS, database_clients, yes=yes, why="to admit the other clouds"))
    if _AWS in clouds:
        planned.append(Step("build the dashboard", (python, "-m", "local.demo.dashboard_build")))
        planned.extend(dashboard_upload.steps(_AWS))
    if smoke:
        planned.append(
            Step(
                "publish one order through each cloud, and wait until it is matched",
                (python, "-m", "scripts.deploy.smoke", "--deployed"),
                environment=_read_token,
            )
        )
    return planned


def _packages(clouds: Sequence[Cloud]) -> list[Step]:
    """The steps that build the packages; those of AWS for the architecture that its root is set to."""
    architecture = {"aws": ("--architecture", setting(_AWS, "architecture") or "x86_64")}
    return [
        Step(
            f"build the packages for {cloud.source}",
            (sys.executable, "-m", "scripts.build.package", *architecture.get(cloud.source, ()), *cloud.packages),
        )
        for cloud in clouds
    ]


def _database_clients(clients: Clients, others: Sequence[Cloud]) -> dict[str, object]:
    """The present clients of Aurora, the other clouds' fixed addresses if they are known, and ``clients``."""
    known = outputs(_AWS).get("database_clients") or {}
    addresses = {str(cloud.source): outputs(cloud).get("egress_address") for cloud in others}
    fixed = {source: f"{address}/32" for source, address in addresses.items() if address}
    merged = {**known, **fixed, **clients}
    return {"database_clients": {name: range_ for name, range_ in merged.items() if range_}}


def database_unreachable(clients: Clients) -> list[str]:
    """Why this machine can't connect to the database, as far as that is known before the first step: a sentence."""
    if setting(_AWS, "database_url"):
        return []  # an existing database, with its own firewall
    try:
        known = outputs(_AWS).get("database_clients") or {}
    except (StepFailed, OSError):  # the root is not initialised, or Terraform is missing, which not_ready() reports
        known = {}
    if any({**known, **clients}.get(name) for name in {*known, *clients} - {*SOURCES}):
        return []
    remedy = "add --client me=YOUR.IP.AD.DRESS/32 and deploy AWS too, or use --no-migrate --no-smoke"
    return [f"Aurora accepts no connection from this machine: {remedy}"]


def overridden(clouds: Sequence[Cloud]) -> list[str]:
    """The variables that both these roots' own files and this script set: a sentence for each."""
    return [
        f"{cloud.source}: {file.name} sets {name} and would override the value of this script: remove it from the file"
        f"{' and use --client' if name == 'database_clients' else ''}"
        for cloud in clouds
        for name in _PASSED_ON[cloud.source]
        if (file := file_setting(cloud, name))
    ]


def _read_token() -> dict[str, str]:
    """The token of the environment; without one, a new token that expires after an hour."""
    if token := os.environ.get(TOKEN):
        return {TOKEN: token}
    secret, now = mint(), datetime.now(UTC)
    row = Token(
        name=f"deploy-{now:%Y%m%dT%H%M%SZ}", scopes=("read",), created_at=now, expires_at=now + timedelta(hours=1)
    )
    with open_pool(required_output(_AWS, "database_url"), connections=1, timeout_seconds=30) as pool:
        PostgresTokens(pool).add(digest(secret), row)
    return {TOKEN: secret}


def _from_aws() -> dict[str, object]:
    """The variables of the other roots that come from AWS' outputs."""
    return {
        "database_url": required_output(_AWS, "database_url"),
        "notify_url": f"{required_output(_AWS, 'api_url')}/api/v1/relay/notify",
        "notify_secret": required_output(_AWS, "notify_secret"),
    }


def _client(text: str) -> tuple[str, str | None]:
    """The name and range of a validated ``NAME=RANGE``; the range is None for ``NAME=``."""
    name, separator, addresses = text.partition("=")
    try:
        return name, str(ipaddress.IPv4Network(addresses)) if addresses or not separator else None
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=RANGE, such as me=198.51.100.7/32: {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, show the plan and run it."""
    parser = argparse.ArgumentParser(prog="deploy", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cloud", action="append", choices=SOURCES, help="only this cloud; may be repeated")
    parser.add_argument(
        "--client",
        action="append",
        type=_client,
        default=[],
        metavar="NAME=RANGE",
        help="allow this IPv4 range to connect to Aurora, such as me=198.51.100.7/32 for the migration.\n"
        "Without a range (me=) the client is removed. Other clients stay as they are",
    )
    parser.add_argument("--no-migrate", action="store_true", help="do not migrate the database")
    parser.add_argument("--no-smoke", action="store_true", help="do not run the smoke test")
    parser.add_argument("--dry-run", action="store_true", help="show the steps and change nothing")
    parser.add_argument("--yes", action="store_true", help="run everything without asking, Terraform's plans too")
    options = parser.parse_args(arguments)
    clouds, clients = selected(options.cloud), dict(options.client)
    migrate = not options.no_migrate
    smoke = len(clouds) == len(CLOUDS) and not options.no_smoke
    needed = selected(["aws", *(cloud.source for cloud in clouds)])
    missing = [reason for cloud in needed for reason in not_ready(cloud)]
    missing += overridden(clouds)
    if clients and _AWS not in clouds:
        missing.append("--client changes the firewall in AWS: deploy AWS too, with --cloud aws")
    elif migrate or (smoke and TOKEN not in os.environ):
        missing += database_unreachable(clients)
    return carry_out(
        steps(clouds, clients=clients, yes=options.yes, migrate=migrate, smoke=smoke),
        missing=missing,
        dry_run=options.dry_run,
        yes=options.yes,
        program=parser.prog,
    )
