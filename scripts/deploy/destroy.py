"""``python -m scripts.deploy.destroy``: removes Helios from three clouds, or from some; ``--dry-run`` shows the steps.

AWS is removed last, because it has the database. While one of the clouds has ``deletion_protection``, which is the
default, nothing is removed: apply ``deletion_protection = false`` first. Resources of the bootstrap scripts stay.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from helios.model.sources import BUILT_IN
from scripts.deploy.clouds import Cloud, add_environment, not_ready, selected
from scripts.deploy.plan import Step, StepFailed, carry_out
from scripts.deploy.terraform import destroy, init, outputs

_ANY_DATABASE = {"database_url": "postgresql://nobody@localhost/none?sslmode=require"}
"""The roots require this variable also when they are destroyed."""


def steps(clouds: Sequence[Cloud], *, yes: bool) -> list[Step]:
    """The removal, in the opposite order of the deployment."""
    return [
        *map(init, clouds),
        Step("check that no cloud has deletion_protection", partial(_require_unprotected, clouds)),
        *(destroy(cloud, {} if cloud.source == "aws" else _ANY_DATABASE, yes=yes) for cloud in reversed(clouds)),
    ]


def _require_unprotected(clouds: Sequence[Cloud]) -> None:
    """Return if no cloud is protected, so that a removal does not stop half way.

    Raises:
        StepFailed: Terraform would refuse to remove a data store of one of the clouds.
    """
    protected = [cloud.source for cloud in clouds if outputs(cloud).get("deletion_protection")]
    if protected:
        options = "".join(f" --cloud {source}" for source in protected)
        options += f" --env {clouds[0].environment}" if clouds[0].environment else ""
        again = f"python -m scripts.deploy --no-migrate --no-smoke{options}"
        raise StepFailed(
            f"nothing was removed: deletion_protection is on in {' and '.join(protected)}. Set deletion_protection = "
            f"false in {clouds[0].settings.name}, apply it (`{again}`), and destroy again"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, show the plan and run it."""
    parser = argparse.ArgumentParser(prog="destroy", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cloud", action="append", choices=BUILT_IN, help="only this cloud; may be repeated")
    add_environment(parser)
    parser.add_argument("--dry-run", action="store_true", help="show the steps and change nothing")
    parser.add_argument("--yes", action="store_true", help="run everything without asking, Terraform's plans too")
    options = parser.parse_args(arguments)
    clouds = selected(options.cloud, options.env)
    return carry_out(
        steps(clouds, yes=options.yes),
        missing=[reason for cloud in clouds for reason in not_ready(cloud)],
        dry_run=options.dry_run,
        yes=options.yes,
        program=parser.prog,
    )


if __name__ == "__main__":
    sys.exit(main())
