"""Lambda: the HTTP API behind an API Gateway HTTP API (payload format 2.0)."""

import os

from mangum import Mangum

from helios import bootstrap, logs
from helios.api import create_app
from helios.processes import interrupts

configured = bootstrap.configure()
logs.configure(configured.log_level)
services = bootstrap.build(configured, is_frozen_between_calls=True)
if "AWS_LAMBDA_RUNTIME_API" in os.environ:  # set by Lambda, which sends SIGTERM to a function with an extension
    interrupts.close_on_sigterm(services.close)
# No lifespan: Mangum would run it with every request, and close the database connections each time.
handler = Mangum(create_app(services), lifespan="off")
