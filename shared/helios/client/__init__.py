"""A client of Helios' API for scripts; the command line uses it too. docs/client.md shows it.

``Client`` has a method for each question. The answers are the frozen structs of ``helios.model`` and ``helios.shapes``.
Every method raises ``ApiError`` if the API can't be reached or answers with an error.
"""

from helios.client.client import Client
from helios.client.errors import ApiError
from helios.client.sending import NewEvent
from helios.shapes import FieldError

__all__ = ["ApiError", "Client", "FieldError", "NewEvent", "TOKEN"]

TOKEN = "HELIOS_TOKEN"  # noqa: S105 - the variable's name
"""The environment variable that holds the token of the command line and the scripts."""
