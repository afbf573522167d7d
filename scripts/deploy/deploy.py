"""``python -m scripts.deploy``: deploys Helios to three clouds, or to some of them; ``--dry-run`` shows the steps.

The networks of the other clouds are applied first, because the database on AWS must admit their addresses before their
functions run: Event Grid delays all deliveries to a function that failed, for hours. AWS is next, with the database,
the API and the dashboard. The database is migrated before the code that needs the new schema is deployed, and each
cloud has a role of its own in it. On AWS and Google Cloud, a new version of the functions gets a tenth of the calls
first, and is taken back if an alarm fires. Every step is idempotent: after a failure, run the command again.
"""

import argparse
import ipaddress
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.tokens import PostgresTokens
from helios.client import TOKEN
from helios.model.sources import BUILT_IN
from helios.model.tokens import Token, digest, mint
from scripts.deploy import aws_account, dashboard_upload, database_roles, declarations
from scripts.deploy.clouds import CLOUDS, Cloud, add_environment, not_ready, selected
from scripts.deploy.plan import Step, StepFailed, carry_out
from scripts.deploy.release import RELEASING
from scripts.deploy.terraform import apply, file_setting, init, outputs, record, required_output, setting

_DATABASE: Final = ("module.network", "module.database")
"""The modules of AWS' root that must exist before the database can be migrated from this machine."""
_RELEASE: Final = "release the new version of the functions of {}: to a tenth of the calls, then to all"
_ADDRESS: Final = ("module.network",)
"""The module of the other roots that has the address from which their functions connect to the database."""
_PASSED_ON: Final = {
    "aws": ("database_clients",),
    "gcp": ("database_url", "notify_url", "notify_secret"),
    "azure": ("database_url", "notify_url", "notify_secret"),
}
"""The variables that this script sets for each root. A file of the root would silently override them."""

Clients = Mapping[str, str | None]
"""An IPv4 range for each name; None removes the client of that name."""


def steps(
    clouds: Sequence[Cloud],
    *,
    clients: Clients,
    yes: bool,
    migrate: bool,
    smoke: bool,
    releasing: Sequence[str] | None = (),
) -> list[Step]:
    """The whole deployment.

    Args:
        clouds: the clouds to deploy to. The others stay as they are, and AWS continues to admit them.
        clients: additional clients that may connect to Aurora, or that may no longer connect.
        yes: whether Terraform's plans are approved without asking.
        migrate: whether the database is migrated from this machine.
        smoke: whether the smoke test runs at the end. It needs all three clouds.
        releasing: options of the release of new versions; None: they get no calls yet.
    """
    python = sys.executable
    environment = clouds[0].environment
    (aws,) = selected(["aws"], environment)
    deploys_aws = aws in clouds
    others = [cloud for cloud in clouds if cloud != aws]
    for_aws = partial(_for_aws, aws, clients, others)
    option = ("--env", environment) if environment else ()

    def release(cloud: Cloud) -> list[Step]:
        if releasing is None or cloud.source not in RELEASING:
            return []
        how = ("--cloud", cloud.source, *releasing, *option)
        return [Step(_RELEASE.format(cloud.source), (python, "-m", "scripts.deploy.release", *how))]

    planned = [
        *packages(clouds),
        *map(init, (aws, *others)),
    ]
    if deploys_aws:
        planned.extend(apply(cloud, _not_yet_known, yes=yes, only=_ADDRESS) for cloud in others)
    if migrate:
        if deploys_aws:
            planned.append(apply(aws, for_aws, yes=yes, only=_DATABASE))
        planned += _database(aws)
    if deploys_aws:
        planned += [apply(aws, for_aws, yes=yes), *release(aws), record(aws, for_aws)]
    for cloud in others:
        from_aws = partial(_from_aws, aws, cloud)
        planned += [apply(cloud, from_aws, yes=yes), *release(cloud), record(cloud, from_aws)]
    if deploys_aws:
        planned.append(Step("build the dashboard", (python, "-m", "local.demo.dashboard_build")))
        planned.extend(dashboard_upload.steps(aws))
    if smoke:
        planned.append(
            Step(
                "publish one order through each cloud, and wait until it is matched",
                (python, "-m", "scripts.deploy.smoke", "--deployed", *option),
                environment=partial(_read_token, aws),
            )
        )
    return planned


def _database(aws: Cloud) -> list[Step]:
    """The steps that prepare the database before any code needs it."""
    return [
        Step("create the roles of the database, and set their passwords", partial(database_roles.set_up, aws)),
        Step(
            "migrate the database from this machine",
            (sys.executable, "-m", "helios", "migrate"),
            environment=lambda: {"HELIOS_DATABASE_URL": required_output(aws, "database_url")},
        ),
    ]


def packages(clouds: Sequence[Cloud]) -> list[Step]:
    """The steps that build the packages as each root is set: its declarations, architecture and collector of spans."""

    def architecture(cloud: Cloud) -> tuple[str, ...]:
        return ("--architecture", setting(cloud, "architecture") or "x86_64") if cloud.source == "aws" else ()

    def traces(cloud: Cloud) -> tuple[str, ...]:
        return ("--traces",) if setting(cloud, "otlp_url") not in {None, "", "null"} else ()

    def declared(cloud: Cloud) -> tuple[str, ...]:
        return tuple(f"--{name}={file}" for name, file in declarations.files_of(cloud).items())

    return [
        Step(
            f"build the packages for {cloud.source}",
            (
                *(sys.executable, "-m", "scripts.build.package"),
                *(*architecture(cloud), *traces(cloud), *declared(cloud), *cloud.packages),
            ),
        )
        for cloud in clouds
    ]


def variables(clouds: Sequence[Cloud]) -> dict[str, Callable[[], dict[str, object]]]:
    """What each root is applied with, by the name of its cloud; without further clients of the database."""
    (aws,) = selected(["aws"], clouds[0].environment)
    return {
        cloud.source: partial(_for_aws, aws, {}, []) if cloud == aws else partial(_from_aws, aws, cloud)
        for cloud in clouds
    }


def _for_aws(aws: Cloud, clients: Clients, others: Sequence[Cloud]) -> dict[str, object]:
    """The variables of AWS' root: the clients of Aurora, and what the account can reserve."""
    return _database_clients(aws, clients, others) | aws_account.reservations(aws)


def _database_clients(aws: Cloud, clients: Clients, others: Sequence[Cloud]) -> dict[str, object]:
    """The present clients of Aurora, the other clouds' fixed addresses if they are known, and ``clients``."""
    known = outputs(aws).get("database_clients") or {}
    addresses = {str(cloud.source): outputs(cloud).get("egress_address") for cloud in others}
    fixed = {source: f"{address}/32" for source, address in addresses.items() if address}
    merged = {**known, **fixed, **clients}
    return {"database_clients": {name: range_ for name, range_ in merged.items() if range_}}


def database_unreachable(aws: Cloud, clients: Clients) -> list[str]:
    """Why this machine can't connect to the database, as far as that is known before the first step: a sentence."""
    if setting(aws, "database_url"):
        return []  # an existing database, with its own firewall
    try:
        known = outputs(aws).get("database_clients") or {}
    except (StepFailed, OSError):  # the root is not initialised, or Terraform is missing, which not_ready() reports
        known = {}
    if any({**known, **clients}.get(name) for name in {*known, *clients} - {*BUILT_IN}):
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


def _read_token(aws: Cloud) -> dict[str, str]:
    """The token of the environment; without one, a new token that expires after an hour."""
    if token := os.environ.get(TOKEN):
        return {TOKEN: token}
    secret, now = mint(), datetime.now(UTC)
    row = Token(
        name=f"deploy-{now:%Y%m%dT%H%M%SZ}", scopes=("read",), created_at=now, expires_at=now + timedelta(hours=1)
    )
    with open_pool(required_output(aws, "database_url"), connections=1, timeout_seconds=30) as pool:
        PostgresTokens(pool).add(digest(secret), row)
    return {TOKEN: secret}


def _not_yet_known() -> dict[str, object]:
    """Values for the required variables of the other roots, which the network does not use."""
    return {"database_url": "postgresql://unused@localhost/unused?sslmode=require"}


def _from_aws(aws: Cloud, cloud: Cloud) -> dict[str, object]:
    """The variables of another cloud's root that come from AWS' outputs; its role of the database is its own.

    Raises:
        StepFailed: AWS' root was not applied.
    """
    url = (outputs(aws).get("database_urls") or {}).get(cloud.source)
    if not url:
        raise StepFailed("aws: the root has no output database_urls; apply it first")
    return {
        "database_url": url,
        "notify_url": f"{required_output(aws, 'api_url')}/api/v1/relay/notify",
        "notify_secret": required_output(aws, "notify_secret"),
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
    parser.add_argument("--cloud", action="append", choices=BUILT_IN, help="only this cloud; may be repeated")
    parser.add_argument(
        "--client",
        action="append",
        type=_client,
        default=[],
        metavar="NAME=RANGE",
        help="allow this IPv4 range to connect to Aurora, such as me=198.51.100.7/32 for the migration.\n"
        "Without a range (me=) the client is removed. Other clients stay as they are",
    )
    add_environment(parser)
    parser.add_argument("--no-migrate", action="store_true", help="do not migrate the database")
    releasing = parser.add_mutually_exclusive_group()
    releasing.add_argument(
        "--no-canary", action="store_true", help="give new versions all calls at once, and watch no alarm"
    )
    releasing.add_argument("--no-release", action="store_true", help="give new versions no calls yet")
    parser.add_argument("--no-smoke", action="store_true", help="do not run the smoke test")
    parser.add_argument("--dry-run", action="store_true", help="show the steps and change nothing")
    parser.add_argument("--yes", action="store_true", help="run everything without asking, Terraform's plans too")
    options = parser.parse_args(arguments)
    clouds, clients = selected(options.cloud, options.env), dict(options.client)
    (aws,) = selected(["aws"], options.env)
    migrate = not options.no_migrate
    smoke = len(clouds) == len(CLOUDS) and not options.no_smoke
    needed = selected(["aws", *(cloud.source for cloud in clouds)], options.env)
    missing = [reason for cloud in needed for reason in not_ready(cloud)]
    missing += [*overridden(clouds), *declarations.problems(options.env)]
    if not missing and aws in clouds:
        missing += aws_account.problems(aws)
    if clients and aws not in clouds:
        missing.append("--client changes the firewall in AWS: deploy AWS too, with --cloud aws")
    elif migrate or (smoke and TOKEN not in os.environ):
        missing += database_unreachable(aws, clients)
    how = None if options.no_release else ("--now",) if options.no_canary else ()
    return carry_out(
        steps(clouds, clients=clients, yes=options.yes, migrate=migrate, smoke=smoke, releasing=how),
        missing=missing,
        dry_run=options.dry_run,
        yes=options.yes,
        program=parser.prog,
    )
