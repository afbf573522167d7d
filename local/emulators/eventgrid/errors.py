"""The error for a request that the emulator refuses."""

from http import HTTPStatus
from typing import Any


class Refused(Exception):  # noqa: N818 - reads as the fact it is
    """The request is invalid. ``body`` is the answer in Azure's form."""

    def __init__(self, status: HTTPStatus, message: str, *, code: str = "", detail: str = "") -> None:
        """Build the error.

        Args:
            status: the HTTP status of the answer.
            message: what is wrong with the request.
            code: Azure's code of the error; by default the name of the status, as in Event Grid: ``BadRequest``.
            detail: Azure's code of the only entry in ``details``; by default the error's code.
        """
        super().__init__(message)
        self.status = status
        self.code = code or status.phrase.replace(" ", "")
        self.detail = detail or self.code

    @property
    def body(self) -> dict[str, Any]:
        """The answer, as in Microsoft's "Publish events to Azure Event Grid custom topics using access keys"."""
        message = str(self)
        return {
            "error": {
                "code": self.code,
                "message": message,
                "details": [{"code": self.detail, "message": message}],
            }
        }
