"""``python -m local.demo.psql``, also ``make psql``: psql, connected to the database of the running demo."""

import os
import sys

from helios.embedded import postgres
from helios.embedded.postgres_install import programs
from helios.errors import ConfigurationError
from helios.processes import instance
from helios.processes.ports import HOST
from local.stack import config


def main(arguments: list[str]) -> str:
    """Replace this process by psql with these arguments, or return the reason why it can't.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    settings = config.load()
    if instance.running(settings.folder):
        psql = programs() / "psql"
        # Other users can read a command line, and not this variable.
        os.environ["PGPASSWORD"] = settings.credentials.postgres
        url = f"postgresql://{postgres.USER}@{HOST}:{settings.postgres_port}/{postgres.DATABASE}"
        os.execv(psql, [str(psql), url, *arguments])  # noqa: S606 - no shell is needed
    return "No demo is running. Start one with `make local-demo` or `make dev`."


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ConfigurationError as error:
        sys.exit(str(error))
