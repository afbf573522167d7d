"""``python -m scripts.deploy.destroy``: remove Helios from three clouds, or from some; ``--dry-run`` shows how.

AWS goes last, since it has the database. While one of them has ``deletion_protection``, which is the default, nothing
is removed at all: apply ``deletion_protection = false`` first, which is a decision of its own. What the bootstraps
made stays.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from helios.model.events import SOURCES
from scripts.deploy.clouds import Cloud, chosen, not_ready
from scripts.deploy.plan import Step, StepFailed, carry_out
from scripts.deploy.terraform import destroy, init, outputs

_ANY_DATABASE = {"database_url": "postgresql://nobody@localhost/none?sslmode=require"}
"""The roots ask for one also when they are to be destroyed."""


def steps(clouds: Sequence[Cloud], *, yes: bool) -> list[Step]:
    """The removal, in the opposite order of the deployment."""
    return [
        *map(init, clouds),
        Step("make sure that none of them is protected", partial(_unprotected, clouds)),
        *(destroy(cloud, {} if cloud.source == "aws" else _ANY_DATABASE, yes=yes) for cloud in reversed(clouds)),
    ]


def _unprotected(clouds: Sequence[Cloud]) -> None:
    """Return if Terraform would go through with all of them: half a system is worth less than a whole one, or none.

    Raises:
        StepFailed: it would refuse to remove what one of them keeps data in.
    """
    kept = [cloud.source for cloud in clouds if outputs(cloud).get("deletion_protection")]
    if kept:
        deploy = "python -m scripts.deploy --no-migrate --no-smoke" + "".join(f" --cloud {source}" for source in kept)
        raise StepFailed(
            f"nothing was removed: deletion_protection is on in {' and '.join(kept)}: write deletion_protection = "
            f"false into terraform.tfvars, apply that (`{deploy}`), and destroy again"
        )


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
