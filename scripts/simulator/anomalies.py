"""The anomalies that an order can have, and the record of the injected ones: the truth."""

from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self, get_args

import msgspec

from helios.model.sources import Source

Plain = Literal["missing", "late", "duplicate", "contradictory", "mismatch", "poison"]
PLAIN: tuple[Plain, ...] = get_args(Plain)
"""The anomalies of an order with one event on each cloud."""

LOST: Final = "lost"
"""The anomaly of an order that is lost in every cloud. Only manifests show it, so it needs a run that sends them."""

Varied = Literal["parcels", "refunds", "instalments", "currencies", "steps", "readings"]
VARIED: tuple[Varied, ...] = get_args(Varied)
"""The kinds of varied orders. Each has one anomaly, which has the same name, as has its flow."""

Anomaly = Plain | Varied | Literal["lost"]
ANOMALIES: tuple[Anomaly, ...] = (*PLAIN, *VARIED, LOST)

REPEATED: tuple[Anomaly, ...] = ("duplicate", "contradictory")
"""The anomalies that consist of two events."""


class LostEvent(NamedTuple):
    """An event that its producer has published, and that has not arrived."""

    source: Source
    type: str
    time: datetime


class Injection(msgspec.Struct, kw_only=True, eq=False):
    """One anomaly of one order.

    Attributes:
        order_id: the affected order.
        anomaly: ``missing``: the leg is never sent, or (``undelivered`` in the details) its cloud does not deliver it.
            ``late``: the leg is sent after the window. ``duplicate``: the leg is sent twice. ``contradictory``: the leg
            is sent twice, the second time with other content. ``mismatch``: the payment's amount differs from the
            order's. ``poison``: the leg is malformed, and so is also missing. ``parcels``: a parcel is never shipped.
            ``refunds``, ``instalments``, ``currencies``: the refunds, the instalments or the converted amount do not
            add up. ``steps``: the order is packed before it is paid. ``readings``: a reading of a meter is never sent.
            ``lost``: every leg is published, and none arrives.
        source: the cloud of the affected leg.
        type: the event type of the affected leg.
        lost: the events of a lost order.
        event_ids: the ids under which Helios receives the affected leg.
        details: facts that depend on the kind. ``certain`` is False if the anomaly may not have happened: an answer
            was lost and the event was sent again.
    """

    order_id: str
    anomaly: Anomaly
    source: Source
    type: str
    lost: list[LostEvent] = []
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
