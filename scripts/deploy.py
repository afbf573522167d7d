"""``python -m scripts.deploy``: Helios in three clouds, or in some of them; ``--dry-run`` shows how.

AWS comes first, since it has the database, the API and the dashboard, and once more at the end, when the addresses are
known from which the other clouds will call the database. Every step may be done again: run it anew after a failure.
"""

import argparse
import ipaddress
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.tokens import PostgresTokens
from helios.event import SOURCES
from helios.tokens import Token, digest, mint
from scripts import dashboard_upload
from scripts.clouds import CLOUDS, Cloud, chosen, not_ready
from scripts.fetched import TOKEN
from scripts.steps import Step, carry_out
from scripts.terraform import apply, init, outputs, told

_AWS, _OTHERS = CLOUDS["aws"], (CLOUDS["gcp"], CLOUDS["azure"])


def steps(clouds: Sequence[Cloud], *, clients: Mapping[str, str], yes: bool, smoke: bool) -> list[Step]:
    """The whole deployment.

    Args:
        clouds: where to; those that are left out keep what they have.
        clients: who else may connect to Aurora, an IPv4 range for each name.
        yes: whether Terraform's plans are agreed to beforehand.
        smoke: whether one order is published in the end. It takes all three clouds.
    """
    python = sys.executable
    packages = [name for cloud in clouds for name in cloud.packages]
    # Those that are left out now may have been deployed before, and must not be locked out.
    others = [cloud for cloud in _OTHERS if cloud in clouds or cloud.backend.is_file()]
    database_clients = partial(_database_clients, clients, others)
    planned = [
        Step("build the packages", (python, "-m", "scripts.package", *packages)),
        *map(init, (_AWS, *others)),
    ]
    if _AWS in clouds:
        planned.append(apply(_AWS, database_clients, yes=yes))
    planned.append(
        Step(
            "bring the database up to date, from here: Aurora answers to a --client only",
            (python, "-m", "helios", "migrate"),
            environment=lambda: {"HELIOS_DATABASE_URL": told(_AWS, "database_url")},
        )
    )
    planned.extend(apply(cloud, _from_aws, yes=yes) for cloud in others if cloud in clouds)
    if _AWS in clouds and len(clouds) > 1:
        planned.append(apply(_AWS, database_clients, yes=yes, why="to let the other clouds in"))
    if _AWS in clouds:
        planned.append(Step("build the dashboard", (python, "-m", "local.dashboard_build")))
        planned.extend(dashboard_upload.steps(_AWS))
    if smoke:
        planned.append(
            Step(
                "publish one order through each cloud, and wait until it is matched",
                (python, "-m", "scripts.smoke", "--deployed"),
                environment=_reader,
            )
        )
    return planned


def _database_clients(given: Mapping[str, str], others: Sequence[Cloud]) -> dict[str, object]:
    """Those given, and the other clouds' fixed addresses as far as they are known."""
    addresses = {cloud.source: outputs(cloud).get("egress_address") for cloud in others}
    fixed = {str(source): f"{address}/32" for source, address in addresses.items() if address}
    return {"database_clients": fixed | dict(given)}


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
        "ring_url": f"{told(_AWS, 'api_url')}/api/v1/relay/ring",
        "ring_secret": told(_AWS, "ring_secret"),
    }


def _client(text: str) -> tuple[str, str]:
    """``NAME=RANGE``, checked."""
    name, _, addresses = text.partition("=")
    try:
        return name, str(ipaddress.IPv4Network(addresses))
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
        help="who else may connect to Aurora, such as me=198.51.100.7/32: you, for the migration",
    )
    parser.add_argument("--no-smoke", action="store_true", help="publish nothing in the end")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument("--yes", action="store_true", help="agree to everything beforehand, Terraform's plans included")
    given = parser.parse_args(arguments)
    clouds = chosen(given.cloud)
    smoke = len(clouds) == len(CLOUDS) and not given.no_smoke
    return carry_out(
        steps(clouds, clients=dict(given.client), yes=given.yes, smoke=smoke),
        missing=[reason for cloud in chosen(["aws", *(one.source for one in clouds)]) for reason in not_ready(cloud)],
        dry_run=given.dry_run,
        yes=given.yes,
        program=parser.prog,
    )


if __name__ == "__main__":
    sys.exit(main())
