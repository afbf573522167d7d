"""Lambda: the HTTP API behind an API Gateway HTTP API (payload format 2.0)."""

from mangum import Mangum

from helios.api import create_app

# No lifespan: Mangum would run it, and so close the database connections, with every request.
handler = Mangum(create_app(), lifespan="off")
