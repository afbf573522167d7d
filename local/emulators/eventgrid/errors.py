"""What the emulator answers a request that it can't serve."""

from http import HTTPStatus
from typing import Any


class Refused(Exception):  # noqa: N818 - reads as the fact it is
    """The request is at fault. ``body`` is the answer in Azure's form."""

    def __init__(self, status: HTTPStatus, message: str, *, code: str = "", detail: str = "") -> None:
        """Build a refusal.

        Args:
            status: the HTTP status to answer with.
            message: what is wrong.
            code: Azure's code of the error; by default the status' name, as Event Grid has it: ``BadRequest``.
            detail: Azure's code of the only entry in ``details``; by default the error's code.
        """
        super().__init__(message)
        self.status = status
        self.code = code or status.phrase.replace(" ", "")
        self.detail = detail or self.code

    @property
    def body(self) -> dict[str, Any]:
        """As Microsoft's "Publish events to Azure Event Grid custom topics using access keys" shows it."""
        message = str(self)
        return {
            "error": {
                "code": self.code,
                "message": message,
                "details": [{"code": self.detail, "message": message}],
            }
        }
