"""The summary at the end of the demo: what the clouds accepted against what Helios counted, for each cloud."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import psycopg

from helios.model.balances import MANIFEST_TYPE
from local.aws.deployer import VISIBILITY_SECONDS
from local.stack.config import CANARY_TYPE, UNDELIVERED

_PATIENCE_SECONDS: Final = VISIBILITY_SECONDS + 30.0
"""How long to wait, without any progress, for accepted events that are not counted yet.

On a busy machine a function may fail to store an event in time, and SQS redelivers it after the visibility timeout.
"""
_QUIET_SECONDS: Final = 5.0
"""How long nothing may arrive until the wait is announced."""
_POLL_SECONDS: Final = 0.25

_NO_TRAFFIC: Final = (CANARY_TYPE, MANIFEST_TYPE)
"""The types of events that the simulator does not count."""

_COUNTS: Final = """
SELECT source, sum(stored)::int, sum(duplicate)::int, sum(contradictory)::int, sum(rejected)::int,
    (SELECT count(*)::int FROM events
     WHERE events.source = event_counts.source AND data ->> %(undelivered)s = 'true'
         AND order_id IN (SELECT key FROM recoveries WHERE state = 'recovered'))
FROM event_counts WHERE type <> ALL(%(no_traffic)s) GROUP BY 1
"""


class Counts(msgspec.Struct, frozen=True):
    """The deliveries of one cloud by outcome, without canary events and manifests.

    ``brought_back`` is how many of the stored events the cloud had not delivered, and a recovery has brought back.
    """

    stored: int = 0
    duplicate: int = 0
    contradictory: int = 0
    rejected: int = 0
    brought_back: int = 0

    def __sub__(self, earlier: "Counts") -> "Counts":
        """The deliveries since the earlier counts."""
        return Counts(*(now - then for now, then in zip(self._counts, earlier._counts, strict=True)))

    @property
    def _counts(self) -> tuple[int, ...]:
        return msgspec.structs.astuple(self)


CountsBySource = dict[str, Counts]
"""The counts of each cloud."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """The events sent to one cloud, or to all clouds; the field names are the simulator's.

    Attributes:
        sent: events sent to a cloud at least once.
        accepted: events that the cloud accepted.
        undelivered: how many of these the cloud does not deliver, on purpose.
        failed: events that the simulator gave up.
    """

    sent: int
    accepted: int
    undelivered: int = 0
    failed: int


class TrafficSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the simulator's summary file that the demo reads."""

    total: Sent
    sources: dict[str, Sent]


def read(file: Path) -> TrafficSummary | None:
    """The simulator's summary; None when the simulator ended before it wrote one."""
    return msgspec.json.decode(file.read_bytes(), type=TrafficSummary) if file.exists() else None


def fetch_counts(database_url: str) -> CountsBySource:
    """The current counts in the database.

    Raises:
        psycopg.OperationalError: the database does not answer.
    """
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(_COUNTS, {"undelivered": UNDELIVERED, "no_traffic": [*_NO_TRAFFIC]})
        return {source: Counts(*counts) for source, *counts in rows}


def wait_for_arrivals(
    fetch: Callable[[], CountsBySource], before: CountsBySource, traffic: TrafficSummary, say: Callable[[str], None]
) -> CountsBySource:
    """The deliveries since ``before``, once none is missing or once no more arrive; ``say`` announces a longer wait."""
    now, progress, is_quiet = since(before, fetch()), time.monotonic(), False
    while (missing := lost(traffic, now)) and time.monotonic() - progress < _PATIENCE_SECONDS:
        if not is_quiet and time.monotonic() - progress > _QUIET_SECONDS:
            is_quiet = True
            count = sum(missing.values())
            say(f"Waiting for what has not arrived ({count:,}): a cloud may deliver again after a minute.")
        time.sleep(_POLL_SECONDS)
        later = since(before, fetch())
        if later != now:
            now, progress = later, time.monotonic()
    return now


def since(before: CountsBySource, now: CountsBySource) -> CountsBySource:
    """The deliveries of each cloud between the two counts."""
    return {source: counts - before.get(source, Counts()) for source, counts in now.items()}


def lost(traffic: TrafficSummary, arrived: CountsBySource) -> dict[str, int]:
    """How many events each cloud accepted that never arrived; a cloud that lost none is left out."""
    missing = {
        source: sent.accepted - sent.undelivered - _arrived(source, arrived.get(source, Counts()))
        for source, sent in traffic.sources.items()
    }
    return {source: count for source, count in missing.items() if count > 0}


def _arrived(source: str, counts: Counts) -> int:
    """How many events of a cloud arrived; more than were sent if you posted events of your own.

    An event that the simulator sends twice on purpose arrives as a duplicate of the same id. On AWS, EventBridge gives
    each copy an id of its own, so that a duplicate is a delivery that AWS repeated. It must not make up for a lost
    event.
    """
    repeated = 0 if source == "aws" else counts.duplicate
    return counts.stored - counts.brought_back + counts.contradictory + counts.rejected + repeated


def report(traffic: TrafficSummary, arrived: CountsBySource) -> tuple[str, bool]:
    """The text of the summary, and whether the run is complete: no event lost, none given up."""
    missing = lost(traffic, arrived)
    totals = {
        "sent": traffic.total.sent,
        "stored": sum(counts.stored for counts in arrived.values()),
        "duplicate": sum(counts.duplicate for counts in arrived.values()),
        "contradictory": sum(counts.contradictory for counts in arrived.values()),
        "rejected": sum(counts.rejected for counts in arrived.values()),
        "not accepted": traffic.total.failed,
        "undelivered": traffic.total.undelivered - sum(counts.brought_back for counts in arrived.values()),
        "lost": sum(missing.values()),
    }
    meanings = {
        "sent": "events from the simulator",
        "stored": "new events",
        "duplicate": "deliveries of events already stored",
        "contradictory": "same id, different content: in the dead letters",
        "rejected": "not readable: in the dead letters, with the reason",
        "not accepted": "events that a cloud refused or did not answer",
        "undelivered": "events that a cloud holds, on purpose: `helios recoveries start` brings them back",
        "lost": "events that a cloud accepted and Helios never received",
    }
    lines = [f"  {count:>9,}  {name:<13}  {meanings[name]}" for name, count in totals.items()]
    lines += [f"             {count:,} of them accepted by {source}" for source, count in missing.items()]
    return "\n".join(lines), not missing and not traffic.total.failed
