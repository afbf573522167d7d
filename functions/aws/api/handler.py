"""Lambda: the HTTP API behind an API Gateway HTTP API (payload format 2.0)."""

import os

from mangum import Mangum

from functions.aws._common import with_archive
from helios import bootstrap, logs
from helios.api import create_app
from helios.processes import interrupts

ARCHIVE_SECONDS = 14.0
"""For one read of the archive. With the search before it (5 s) and a request that is repeated after it (8 s), a call
ends before API Gateway gives up on it, after 30 s."""

configured = bootstrap.configure()
logs.configure(configured.log_level)
services = with_archive(bootstrap.build(configured, is_frozen_between_calls=True), seconds=ARCHIVE_SECONDS)
if "AWS_LAMBDA_RUNTIME_API" in os.environ:  # set by Lambda, which sends SIGTERM to a function with an extension
    interrupts.close_on_sigterm(services.close)
# No lifespan: Mangum would run it with every request, and close the database connections each time.
handler = Mangum(create_app(services), lifespan="off")
