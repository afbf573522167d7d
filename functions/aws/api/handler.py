"""Lambda: the HTTP API behind an API Gateway HTTP API (payload format 2.0)."""

from mangum import Mangum

from helios import bootstrap, logs
from helios.api import create_app

configured = bootstrap.configure()
logs.configure(configured.log_level)
services = bootstrap.build(configured, is_frozen_between_calls=True)
# No lifespan: Mangum would run it with every request, and close the database connections each time.
handler = Mangum(create_app(services), lifespan="off")
