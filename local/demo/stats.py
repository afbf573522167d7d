"""The demo's live stats: the API's counts, the rate at which they grow, and how both are displayed."""

import http.client
import time
from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec
from rich.table import Table

_ANSWER_SECONDS: Final = 3
_RATE_SECONDS: Final = 5
_NOT_USED: Final = "disabled"
"""What health says of a component that is not part of this demo; the demo does not show it."""
_SILENT: Final = "The API does not answer"
_NAMES: Final = {"aws": "AWS", "gcp": "GCP", "azure": "Azure"}


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The part of ``GET /api/v1/stats`` that the demo shows; the field names are the API's."""

    total_events: int
    events_by_source: dict[str, int]
    duplicates: int
    contradictory: int
    rejected: int
    health: dict[str, str]

    @property
    def deliveries(self) -> int:
        """All deliveries that Helios counted, whatever their outcome."""
        return self.total_events + self.duplicates + self.contradictory + self.rejected


def fetch(address: str) -> Stats | None:
    """The stats of the API at this host and port; None while the API does not answer, or can't read them."""
    status, body = _get(address, "/api/v1/stats")
    return msgspec.json.decode(body, type=Stats) if status == http.HTTPStatus.OK else None


def fetch_reasons(address: str) -> dict[str, str]:
    """Why services are unhealthy, by service; empty if none is, and while the API does not answer."""
    _, body = _get(address, "/api/v1/health/detailed")  # 503 if events can't be stored, with the same body
    return msgspec.json.decode(body, type=_Health).reasons if body else {}


class _Health(msgspec.Struct, frozen=True):
    """The part of ``GET /api/v1/health/detailed`` that the demo shows."""

    reasons: dict[str, str] = {}


def _get(address: str, path: str) -> tuple[int, bytes]:
    """The status and the body of an answer; 0 and no body while the API does not answer."""
    connection = http.client.HTTPConnection(address, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


class Rate:
    """Events per second, over the last few seconds."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def update(self, total: int) -> float:
        """Add the current total, and return the rate."""
        now = time.monotonic()
        while self._marks and now - self._marks[0][0] > _RATE_SECONDS:
            self._marks.popleft()
        self._marks.append((now, total))
        since, before = self._marks[0]
        return (total - before) / (now - since) if now > since else 0.0


def explain(reasons: Mapping[str, str]) -> list[str]:
    """What the unhealthy services mean for the user: a sentence for each."""
    return [
        f"{'Nothing is stored now. ' if name == 'database' else ''}The {name} is unhealthy: {reason}."
        for name, reason in reasons.items()
    ]


def table(stats: Stats | None, rate: float, reasons: Mapping[str, str]) -> Table:
    """The stats for a terminal, redrawn in place."""
    grid = Table(box=None, show_header=False, padding=(0, 2))
    if stats is None:
        grid.add_row("\n".join(explain(reasons)) or _SILENT)
        return grid
    grid.add_row("stored", f"{stats.total_events:,}", f"{rate:.1f} per second")
    for source, count in stats.events_by_source.items():
        grid.add_row(f"  from {_NAMES.get(source, source)}", f"{count:,}")
    grid.add_row("duplicate", f"{stats.duplicates:,}", "already stored: counted, not stored again")
    grid.add_row("contradictory", f"{stats.contradictory:,}", "same id, different content: in the dead letters")
    grid.add_row("rejected", f"{stats.rejected:,}", "not readable: in the dead letters, with the reason")
    for component, state in stats.health.items():
        if state != _NOT_USED:
            grid.add_row(component, state, reasons.get(component, ""))
    return grid


def line(stats: Stats | None, rate: float, reasons: Mapping[str, str]) -> str:
    """The stats as one line, for output that is not a terminal."""
    if stats is None:
        return " ".join(explain(reasons)) or _SILENT
    sources = ", ".join(f"{_NAMES.get(source, source)} {count}" for source, count in stats.events_by_source.items())
    health = ", ".join(f"{component} {state}" for component, state in stats.health.items() if state != _NOT_USED)
    return (
        f"Stored {stats.total_events} ({sources}) at {rate:.1f}/s, duplicate {stats.duplicates}, "
        f"contradictory {stats.contradictory}, rejected {stats.rejected}; {health}"
        + "".join(f". {sentence}" for sentence in explain(reasons))
    )
