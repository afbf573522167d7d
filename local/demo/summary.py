"""The demo's last word: what was sent against what Helios accounts for, cloud by cloud."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import psycopg

from local.stack.config import CANARY_TYPE

_PATIENCE_SECONDS: Final = 30.0
"""How long to wait, without any progress, for what was sent and is not accounted for yet."""
_POLL_SECONDS: Final = 0.25

_LEDGER: Final = """
SELECT source, sum(stored)::int, sum(duplicate)::int, sum(contradictory)::int, sum(rejected)::int
FROM event_counts WHERE type <> %s GROUP BY 1
"""


class Account(msgspec.Struct, frozen=True):
    """What became of the deliveries of one cloud; canary events are left out."""

    stored: int = 0
    duplicate: int = 0
    contradictory: int = 0
    rejected: int = 0

    def __sub__(self, earlier: "Account") -> "Account":
        """What came since then."""
        return Account(*(now - then for now, then in zip(self._counts, earlier._counts, strict=True)))

    @property
    def _counts(self) -> tuple[int, ...]:
        return msgspec.structs.astuple(self)


Accounts = Mapping[str, Account]
"""By cloud."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent to one cloud, or to all; the words are the simulator's.

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
    sources: dict[str, Sent]


def read(file: Path) -> TrafficSummary | None:
    """What the simulator says; None when it ended before it said anything."""
    return msgspec.json.decode(file.read_bytes(), type=TrafficSummary) if file.exists() else None


def accounts(database_url: str) -> Accounts:
    """The ledger as it stands.

    Raises:
        psycopg.OperationalError: the database can't be asked.
    """
    with psycopg.connect(database_url) as connection:
        return {source: Account(*counts) for source, *counts in connection.execute(_LEDGER, [CANARY_TYPE])}


def settle(ask: Callable[[], Accounts], before: Accounts, traffic: TrafficSummary) -> Accounts:
    """What came since ``before``, once nothing is missing, or once nothing more comes."""
    now, progress = since(before, ask()), time.monotonic()
    while lost(traffic, now) and time.monotonic() - progress < _PATIENCE_SECONDS:
        time.sleep(_POLL_SECONDS)
        later = since(before, ask())
        if later != now:
            now, progress = later, time.monotonic()
    return now


def since(before: Accounts, now: Accounts) -> Accounts:
    """What each cloud delivered between the two."""
    return {source: account - before.get(source, Account()) for source, account in now.items()}


def lost(traffic: TrafficSummary, came: Accounts) -> dict[str, int]:
    """How many events each cloud has taken that never came; those that lost none are left out."""
    missing = {
        source: sent.accepted - _arrived(source, came.get(source, Account()))
        for source, sent in traffic.sources.items()
    }
    return {source: count for source, count in missing.items() if count > 0}


def _arrived(source: str, account: Account) -> int:
    """How many of a cloud's events came; more may have, as you may have posted your own.

    What is sent twice on purpose has one id, but for a bus, which gives each its own: there a duplicate is a delivery
    that AWS repeats, and must not stand for an event that is lost.
    """
    repeated = 0 if source == "aws" else account.duplicate
    return account.stored + account.contradictory + account.rejected + repeated


def tell(traffic: TrafficSummary, came: Accounts) -> tuple[str, bool]:
    """The summary in words, and whether it is as it should be: nothing lost, nothing given up."""
    missing = lost(traffic, came)
    counts = {
        "sent": traffic.total.sent,
        "stored": sum(account.stored for account in came.values()),
        "duplicate": sum(account.duplicate for account in came.values()),
        "contradictory": sum(account.contradictory for account in came.values()),
        "rejected": sum(account.rejected for account in came.values()),
        "given up by the sender": traffic.total.failed,
        "lost": sum(missing.values()),
    }
    lines = [f"  {count:>9,}  {name}" for name, count in counts.items()]
    lines += [f"             {count:,} that {source} had taken" for source, count in missing.items()]
    return "\n".join(lines), not missing and not traffic.total.failed
