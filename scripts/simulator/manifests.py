"""The manifests of the shop's producers: what each has published, by the minute of the events' own time."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from helios.model.balances import MANIFEST_TYPE
from helios.model.sources import BUILT_IN, Source

from .anomalies import Injection, LostEvent, Truth
from .plan import Emission

AFTER: Final = timedelta(seconds=2)
"""How long after its minute a manifest is sent. Events that are answered later are in its next revision."""


class _Minute(NamedTuple):
    source: Source
    minute: datetime


class Manifests:
    """Counts what the producers in the clouds publish, and makes manifests of it."""

    def __init__(self, sources: Sequence[Source], truth: Truth, *, ids_of_eventbridge: bool) -> None:
        """Begin with zero counts.

        Args:
            sources: the sources that take part. Those outside the clouds send no manifests.
            truth: records each lost order, once all of its events are lost.
            ids_of_eventbridge: whether EventBridge gives each event on a bus another id, so that none is a repetition.
        """
        self._sources = [source for source in sources if source in BUILT_IN]
        self._truth = truth
        self._ids_of_eventbridge = ids_of_eventbridge
        self._published: defaultdict[_Minute, Counter[str]] = defaultdict(Counter)
        self._repeated: defaultdict[_Minute, Counter[str]] = defaultdict(Counter)
        self._changed: set[_Minute] = set()
        self._revisions: Counter[_Minute] = Counter()
        self._publisher = f"run-{uuid.uuid4().hex[:12]}"  # counts of several runs in one minute are added up

    def count(self, emission: Emission) -> None:
        """Count an event that its producer has published."""
        if emission.source not in self._sources or emission.type == MANIFEST_TYPE:
            return
        key = _Minute(emission.source, emission.time.replace(second=0, microsecond=0))
        self._published[key][emission.type] += 1
        if emission.original and not (self._ids_of_eventbridge and emission.source == "aws"):
            self._repeated[key][emission.type] += 1
        self._changed.add(key)

    def lose(self, emission: Emission, injection: Injection) -> None:
        """Count an event that is lost after its producer has published it."""
        self.count(emission)
        injection.lost.append(LostEvent(emission.source, emission.type, emission.time))
        if len(injection.lost) == injection.details["events"]:
            self._truth.record(injection)

    def due(self, now: datetime, *, offset: float) -> list[Emission]:
        """The manifests of the minutes that have ended, and whose counts have changed since the last ones.

        Args:
            now: the time, UTC; the end of time for those of all minutes.
            offset: the same in seconds since the run began, when the manifests are due.
        """
        ended = sorted(key for key in self._changed if key.minute + timedelta(minutes=1) + AFTER <= now)
        self._changed.difference_update(ended)
        return [self._manifest(key, offset) for key in ended]

    def _manifest(self, key: _Minute, offset: float) -> Emission:
        self._revisions[key] += 1
        data = {
            "minute": key.minute,
            "events": [
                {"type": type_, "published": number, "repeated": self._repeated[key][type_]}
                for type_, number in sorted(self._published[key].items())
            ],
            "publisher": self._publisher,
            "revision": self._revisions[key],
        }
        return Emission(
            source=key.source,
            type=MANIFEST_TYPE,
            id=str(uuid.uuid4()),
            order_id="",
            data=msgspec.json.encode(data),
            due=offset,
            time=datetime.now(UTC),
        )


ALL: Final = datetime.max.replace(tzinfo=UTC)
"""The end of time: the minutes of a run that is over have ended."""
