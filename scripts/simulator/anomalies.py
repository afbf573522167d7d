"""What can go wrong with an order, and the record of what was made to go wrong: the truth."""

from pathlib import Path
from types import TracebackType
from typing import Literal, Self, get_args

import msgspec

from helios.model.events import Source

Anomaly = Literal["missing", "late", "duplicate", "contradictory", "mismatch", "poison"]
ANOMALIES: tuple[Anomaly, ...] = get_args(Anomaly)

REPEATED: tuple[Anomaly, ...] = ("duplicate", "contradictory")
"""The anomalies that take two events."""


class Injection(msgspec.Struct, kw_only=True, eq=False):
    """One anomaly of one order.

    Attributes:
        order_id: the order it befell.
        anomaly: ``missing``: the leg is never sent. ``late``: it comes after the window. ``duplicate``: it comes
            twice. ``contradictory``: it comes twice, the second time with other content. ``mismatch``: the payment's
            amount is not the order's. ``poison``: it is malformed, so that in effect it is missing too.
        source: the cloud of the leg that is affected.
        type: that leg's event type.
        event_ids: the ids under which Helios hears of the affected leg.
        details: what distinguishes this one from others of its kind. ``certain``: False if it may not have happened,
            as an answer was lost and the event was sent again.
    """

    order_id: str
    anomaly: Anomaly
    source: Source
    type: str
    event_ids: list[str] = []
    details: dict[str, object] = {}

    @property
    def certain(self) -> bool:
        """Whether it really happened."""
        return self.details.get("certain") is not False


class Truth:
    """A file of JSON lines, one for each anomaly that happened or may have; counts only of the former."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("wb") if path else None
        self.counts: dict[Anomaly, int] = dict.fromkeys(ANOMALIES, 0)

    def record(self, injection: Injection) -> None:
        """Write one line, at once, so that a run that is cut short leaves the truth about what it did."""
        self.counts[injection.anomaly] += injection.certain
        if self._file:
            self._file.write(msgspec.json.encode(injection) + b"\n")
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()
