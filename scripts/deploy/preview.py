"""``python -m scripts.deploy.preview``: shows what a deployment would change in each cloud, and changes nothing.

``--drift`` compares the resources with Terraform's states instead of with the code: it finds what was changed by hand.
It exits with 3 if there is a difference, so that a schedule can report it.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from helios.model.sources import BUILT_IN
from scripts.deploy import declarations, deploy
from scripts.deploy.clouds import add_environment, not_ready, selected
from scripts.deploy.plan import EXIT_FAILED, EXIT_NOT_READY, EXIT_OK, StepFailed, run
from scripts.deploy.terraform import drift, init, plan

EXIT_DRIFT: Final = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, plan each root, and return the exit status."""
    parser = argparse.ArgumentParser(prog="preview", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cloud", action="append", choices=BUILT_IN, help="only this cloud; may be repeated")
    parser.add_argument("--drift", action="store_true", help="find what was changed without Terraform")
    add_environment(parser)
    options = parser.parse_args(arguments)
    clouds = selected(options.cloud, options.env)
    needed = selected(["aws", *(cloud.source for cloud in clouds)], options.env)
    if missing := [*(reason for cloud in needed for reason in not_ready(cloud)), *declarations.problems(options.env)]:
        sys.stderr.write("".join(f"{parser.prog}: {reason}\n" for reason in missing))
        return EXIT_NOT_READY
    try:
        run([*deploy.packages(clouds), *map(init, needed)])
        variables = deploy.variables(clouds)
        compare = drift if options.drift else plan
        changed = [cloud.source for cloud in clouds if compare(cloud, variables[cloud.source]())]
    except (StepFailed, OSError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return EXIT_FAILED
    names = ", ".join(changed) or "no cloud"
    sys.stdout.write(f"{'Changed without Terraform' if options.drift else 'A deployment would change'}: {names}\n")
    return EXIT_DRIFT if changed and options.drift else EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
