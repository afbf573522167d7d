"""Requests of real senders with what Helios makes of them: the files in tests/payloads/requests."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parents[1] / "payloads" / "requests"


class Sent(NamedTuple):
    """A request.

    Attributes:
        path: its path.
        headers: its headers.
        body: its body.
        to_function: whether it goes to the Azure function instead of the API.
    """

    path: str
    headers: dict[str, str]
    body: bytes
    to_function: bool


class Case(NamedTuple):
    """A request of a sender, and its result.

    Attributes:
        name: the name of the file.
        first: the requests before it.
        request: the request.
        expected: its ``status`` and ``results``; then all stored ``events`` and ``dead_letters``, newest first, of each
            the fields that matter; and ``then``, what the API shows.
    """

    name: str
    first: list[Sent]
    request: Sent
    expected: dict[str, Any]

    @property
    def needs_function(self) -> bool:
        """Whether a request goes to the Azure function."""
        return any(sent.to_function for sent in [*self.first, self.request])


def cases() -> list[Case]:
    """Every case, sorted by name."""
    return [_case(file) for file in sorted(FOLDER.glob("*.json"))]


def _case(file: Path) -> Case:
    case = json.loads(file.read_text())
    return Case(file.stem, [_sent(item) for item in case.get("first", [])], _sent(case["request"]), case["expected"])


def _sent(request: dict[str, Any]) -> Sent:
    """A request. A body that is JSON with faults is written as text, one with other bytes as base64."""
    if "body_base64" in request:
        body = base64.b64decode(request["body_base64"])
    elif isinstance(request["body"], str):
        body = request["body"].encode()
    else:
        content = request["body"]
        if length := request.get("note_length"):
            payload = {"order_id": "ORD-e9", "note": "x" * length}
            content["message"]["data"] = base64.b64encode(json.dumps(payload).encode()).decode()
        body = json.dumps(content).encode()
    return Sent(request["path"], request["headers"], body, request.get("server") == "azure_function")


def missing(actual: object, expected: object, at: str = "") -> list[str]:
    """Where a value differs from the expected one, which has only the members of objects that matter."""
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        return [fault for name, value in expected.items() for fault in missing(actual.get(name), value, f"{at}.{name}")]
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        return [
            fault
            for number, (left, right) in enumerate(zip(actual, expected, strict=True))
            for fault in missing(left, right, f"{at}[{number}]")
        ]
    return [] if actual == expected else [f"{at}: {actual!r} is not {expected!r}"]
