"""``python -m tests.support.resolve_at accept KEY...``, or ``undo NUMBER``: one action of a person on orders.

``HELIOS_DATABASE_URL`` names the database.
"""

import os
import sys
from datetime import UTC, datetime

from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.resolutions import PostgresResolutions
from helios.model.resolutions import ResolutionRequest


def main() -> None:
    """Take the action."""
    step, *arguments = sys.argv[1:]
    url = os.environ["HELIOS_DATABASE_URL"]
    with open_pool(url, connections=1, timeout_seconds=30) as pool:
        resolutions, now = PostgresResolutions(pool), datetime.now(UTC)
        if step == "undo":
            resolutions.undo(int(arguments[0]), actor="kim", now=now)
        else:
            request = ResolutionRequest(step="accept", text="agreed with the bank")
            resolutions.apply(request, [("order", key) for key in arguments], actor="kim", now=now)


if __name__ == "__main__":
    main()
