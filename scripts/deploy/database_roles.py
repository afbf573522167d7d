"""``python -m scripts.deploy.database_roles``: creates the roles of Aurora's database, and sets their passwords.

``deploy`` does this before each migration. ``--close gcp`` shuts one cloud out of the database and ends its
connections, while the others go on: its events wait at the cloud. A closed role stays closed until ``--open gcp``.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from helios.adapters.postgres import roles
from helios.errors import HeliosError
from scripts.deploy.clouds import CLOUDS, Cloud, add_environment
from scripts.deploy.plan import StepFailed
from scripts.deploy.terraform import Outputs, outputs

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1

_CLOSABLE: Final = ("api", "aws", "gcp", "azure")


def set_up(aws: Cloud) -> None:
    """Create the missing roles and set the passwords of all, unless the database is not Terraform's.

    Raises:
        StepFailed: the database can't be reached, or the root was not applied.
    """
    known = outputs(aws)
    if known and not known.get("has_database_roles"):
        sys.stdout.write("      the database is not Helios' own: every function uses the user of database_url\n")
        return
    urls = _urls(known)
    passwords = {f"helios_{role}": roles.password_of(url) for role, url in urls.items() if role != "admin"}
    try:
        closed = roles.create_roles(urls["admin"], passwords)
    except HeliosError as error:
        raise StepFailed(f"aws: {error}") from error
    for name in closed:
        role = name.removeprefix("helios_")
        sys.stdout.write(
            f"      {name} stays closed; `python -m scripts.deploy.database_roles --open {role}` opens it\n"
        )


def _urls(known: Outputs) -> dict[str, str]:
    urls = known.get("database_urls")
    if not isinstance(urls, dict):
        raise StepFailed("aws: the root has no output database_urls; apply it first")
    return urls


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, change the roles, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="database_roles", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--close", choices=_CLOSABLE, help="shut this role out of the database")
    change.add_argument("--open", choices=_CLOSABLE, help="let a closed role in again")
    add_environment(parser)
    options = parser.parse_args(arguments)
    aws = CLOUDS["aws"]._replace(environment=options.env)
    try:
        if options.close:
            roles.close_role(_urls(outputs(aws))["admin"], f"helios_{options.close}")
        elif options.open:
            roles.open_role(_urls(outputs(aws))["admin"], f"helios_{options.open}")
        else:
            set_up(aws)
    except (HeliosError, StepFailed, OSError) as error:
        sys.stderr.write(f"database_roles: {error}\n")
        return EXIT_FAILED
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
