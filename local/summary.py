"""The demo's last word: what was sent against what Helios accounts for."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from local.figures import Figures

_PATIENCE_SECONDS: Final = 30.0
"""How long to wait, without any progress, for what was sent and is not accounted for yet."""
_POLL_SECONDS: Final = 0.25


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """All clouds together; the words are the simulator's.

    Attributes:
        sent: events handed to a cloud at least once.
        accepted: those that the cloud took.
        failed: those that were given up.
    """

    sent: int
    accepted: int
    failed: int


class TrafficSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo reads of the file that the simulator leaves."""

    total: Sent


def read(file: Path) -> Sent | None:
    """The simulator's totals; None when it ended before it wrote any."""
    if not file.exists():
        return None
    return msgspec.json.decode(file.read_bytes(), type=TrafficSummary).total


def settle(fetch: Callable[[], Figures | None], before: Figures, accepted: int) -> Figures | None:
    """The figures once so many deliveries are accounted for, or once nothing more comes; None: no answer."""
    now, progress = fetch(), time.monotonic()
    while now is None or now.taken - before.taken < accepted:
        if time.monotonic() - progress > _PATIENCE_SECONDS:
            break
        time.sleep(_POLL_SECONDS)
        later = fetch()
        if later and (now is None or later.taken > now.taken):
            now, progress = later, time.monotonic()
    return now


def tell(sent: Sent, before: Figures, after: Figures, *, heartbeats: int) -> tuple[str, bool]:
    """The summary in words, and whether it is as it should be: nothing lost, nothing given up.

    Args:
        sent: what the simulator says.
        before: the figures before it began.
        after: the figures once nothing more comes.
        heartbeats: events stored meanwhile that are not the simulator's.
    """
    # More may be accounted for than was sent: clouds deliver some events twice, and you may have posted your own.
    lost = max(0, sent.accepted + heartbeats - (after.taken - before.taken))
    parts = {
        "sent": sent.sent,
        "stored": after.total_events - before.total_events - heartbeats,
        "duplicate": after.duplicates - before.duplicates,
        "contradictory": after.contradictory - before.contradictory,
        "rejected": after.rejected - before.rejected,
        "given up by the sender": sent.failed,
        "lost": lost,
        "heartbeats besides": heartbeats,
    }
    return "\n".join(f"  {count:>9,}  {name}" for name, count in parts.items()), not lost and not sent.failed
