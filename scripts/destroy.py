"""``python -m scripts.destroy``: remove Helios from three clouds, or from some; ``--dry-run`` shows how.

AWS goes last, since it has the database. With ``deletion_protection``, which is the default, Terraform refuses to
remove Aurora and what holds data: apply ``deletion_protection = false`` first, which is a decision of its own. What
the bootstraps made, the states, stays.
"""

import argparse
import sys
from collections.abc import Sequence

from helios.event import SOURCES
from scripts.clouds import Cloud, chosen, not_ready
from scripts.steps import Step, carry_out
from scripts.terraform import destroy, init

_ANY_DATABASE = {"database_url": "postgresql://nobody@localhost/none?sslmode=require"}
"""The roots ask for one also when they are to be destroyed."""


def steps(clouds: Sequence[Cloud], *, yes: bool) -> list[Step]:
    """The removal, in the opposite order of the deployment."""
    planned: list[Step] = []
    for cloud in reversed(clouds):
        needed = {} if cloud.source == "aws" else _ANY_DATABASE
        planned += [init(cloud), destroy(cloud, needed, yes=yes)]
    return planned


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, show the plan, and carry it out."""
    parser = argparse.ArgumentParser(prog="destroy", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cloud", action="append", choices=SOURCES, help="only this one; may be said twice")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument("--yes", action="store_true", help="agree to everything beforehand, Terraform's plans included")
    given = parser.parse_args(arguments)
    clouds = chosen(given.cloud)
    return carry_out(
        steps(clouds, yes=given.yes),
        missing=[reason for cloud in clouds for reason in not_ready(cloud)],
        dry_run=given.dry_run,
        yes=given.yes,
        program=parser.prog,
    )


if __name__ == "__main__":
    sys.exit(main())
