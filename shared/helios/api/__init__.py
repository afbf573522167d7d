"""The HTTP API: FastAPI under uvicorn, and unchanged under Mangum on Lambda."""

from helios.api.app import create_app

__all__ = ["create_app"]
