"""Lambda: copies events to the archive and drops what has expired, once an hour on an EventBridge schedule."""

import os
from datetime import UTC, datetime
from typing import Protocol

from functions.aws._common import archive_credentials, powertools_logger
from helios import bootstrap
from helios.adapters.postgres.connection import open_pool

RESERVED_SECONDS = 300
"""No day begins in the last part of a call: what is being written when Lambda ends the call is written again."""

CONNECTIONS = 2


class Context(Protocol):
    """Lambda's context of a call."""

    def get_remaining_time_in_millis(self) -> int:
        """The time until Lambda ends the call."""


logger = powertools_logger("helios-archive")

os.environ.update(archive_credentials())  # from which the client of the archive's store reads them
settings = bootstrap.configure(require=["archive_url"])
pool = open_pool(settings.postgres_url, connections=CONNECTIONS, timeout_seconds=settings.database_timeout_seconds)
archive = bootstrap.archive_on(settings, pool).archive
retention = bootstrap.retention_job(settings, pool)


@logger.inject_lambda_context
def handler(_event: dict[str, object], context: Context) -> dict[str, int]:
    """Archive the days that are over, and drop the partitions that have expired. The next call does the rest.

    Raises:
        Retryable: Postgres or the archive can't be reached. The next call repeats it.
    """
    now = datetime.now(UTC)
    seconds = context.get_remaining_time_in_millis() / 1000 - RESERVED_SECONDS
    result = archive.run(now, seconds=seconds)
    dropped = [] if result.busy or retention is None else retention.drop_expired(now)
    return {"days": result.days, "files": result.files, "rows": result.rows, "partitions_dropped": len(dropped)}
