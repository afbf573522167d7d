"""``python -m local.demo.psql``, also ``make psql``: Postgres' own client, on the database of the demo that runs."""

import os
import sys

from helios.errors import ConfigurationError
from local.servers import postgres
from local.servers.postgres_install import programs
from local.stack import config, instance


def main(arguments: list[str]) -> str:
    """Become psql with these arguments, or return why that is not possible.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    settings = config.load()
    if instance.running(settings.folder):
        psql = programs() / "psql"
        os.execv(psql, [str(psql), postgres.url(settings.postgres_port), *arguments])  # noqa: S606 - no shell is wanted
    return "No demo is running. Start one with make local-demo or make dev."


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ConfigurationError as error:
        sys.exit(str(error))
