"""The anomalies that an order can have, and the record of the injected ones: the truth."""

from pathlib import Path
from types import TracebackType
from typing import Literal, Self, get_args

import msgspec

from helios.model.events import Source

Anomaly = Literal["missing", "late", "duplicate", "contradictory", "mismatch", "poison"]
ANOMALIES: tuple[Anomaly, ...] = get_args(Anomaly)

REPEATED: tuple[Anomaly, ...] = ("duplicate", "contradictory")
"""The anomalies that consist of two events."""


class Injection(msgspec.Struct, kw_only=True, eq=False):
    """One anomaly of one order.

    Attributes:
        order_id: the affected order.
        anomaly: ``missing``: the leg is never sent. ``late``: the leg is sent after the window. ``duplicate``: the leg
            is sent twice. ``contradictory``: the leg is sent twice, the second time with other content. ``mismatch``:
            the payment's amount differs from the order's. ``poison``: the leg is malformed, and so is also missing.
        source: the cloud of the affected leg.
        type: the event type of the affected leg.
        event_ids: the ids under which Helios receives the affected leg.
        details: facts that depend on the kind. ``certain`` is False if the anomaly may not have happened: an answer
            was lost and the event was sent again.
    """

    order_id: str
    anomaly: Anomaly
    source: Source
    type: str
    event_ids: list[str] = []
    details: dict[str, object] = {}

    @property
    def certain(self) -> bool:
        """Whether the anomaly certainly happened."""
        return self.details.get("certain") is not False


class Truth:
    """A file with a JSON line for each anomaly that happened or may have happened; ``counts`` has the certain ones."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("wb") if path else None
        self.counts: dict[Anomaly, int] = dict.fromkeys(ANOMALIES, 0)

    def record(self, injection: Injection) -> None:
        """Write one line and flush it, so that the file of an interrupted run is complete."""
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
