"""Summaries of many flow instances, computed from stored sums: no query counts instances."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from helios.model.flows import (
    ISSUE_KINDS,
    MAX_TREND_POINTS,
    SETTLED,
    STATUSES,
    FlowStatus,
    FlowSummary,
    IssueKind,
    Money,
    TrendPoint,
)
from helios.model.sources import Source
from helios.reconciliation.declaration import Flow
from helios.reconciliation.record import SLOT, FlowCount, FlowSums, slot_of

_AGREED: tuple[FlowStatus, ...] = ("matched", "matched_late")


def trend_bucket(since: datetime, until: datetime) -> timedelta:
    """The shortest bucket that divides a period into at most MAX_TREND_POINTS.

    A bucket is a number of whole minutes, or of whole slots if it is longer than one.
    """
    minutes = -(-(until - slot_of(since)) // timedelta(minutes=1))
    bucket = timedelta(minutes=-(-minutes // MAX_TREND_POINTS))
    return bucket if bucket < SLOT else -(-bucket // SLOT) * SLOT


def most_sources(flows: Sequence[Flow], known: int) -> int:
    """The most sources from which an instance of one of these flows can have events, of ``known`` sources."""
    named = [{leg.source for leg in flow.leg if leg.source} for flow in flows]
    free = [sum(leg.source is None for leg in flow.leg) for flow in flows]
    return max((min(known, len(names) + others) for names, others in zip(named, free, strict=True)), default=1)


def summarise(
    sums: FlowSums,
    *,
    since: datetime,
    until: datetime,
    oldest_open: datetime | None,
    silent: list[Source],
    sources: int,
    now: datetime,
) -> FlowSummary:
    """The summary of a period.

    Args:
        sums: the sums of the period.
        since: the beginning of the period.
        until: the end of the period.
        oldest_open: when the oldest open instance was opened.
        silent: the sources that have gone silent.
        sources: the number of sources; an instance has events of one up to all of them.
        now: decides the age of the oldest open instance.
    """
    counts = sums.counts
    by_status = {status: _instances(counts, "status", status) for status in STATUSES}
    settled = sum(by_status[status] for status in SETTLED)
    return FlowSummary(
        position=sums.position,
        since=since,
        until=until,
        total=sum(by_status.values()),
        by_status=by_status,
        match_rate=sum(by_status[status] for status in _AGREED) / settled if settled else None,
        oldest_open_seconds=(now - oldest_open).total_seconds() if oldest_open else None,
        amount_at_risk=amounts_at_risk(counts),
        seen_on={str(clouds): _instances(counts, "clouds", str(clouds)) for clouds in range(1, sources + 1)},
        issues={kind: _instances(counts, "issue", kind) for kind in ISSUE_KINDS},
        silent=silent,
        trend=_trend(counts),
    )


def amounts_at_risk(counts: Iterable[FlowCount]) -> list[Money]:
    """The amounts of mismatched and incomplete instances by currency; amounts without a currency come last."""
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for count in counts:
        if count.what in {"risk", "status"}:
            sums[count.value if count.what == "risk" else ""] += count.amount
    known = sorted(sums.items(), key=lambda item: (not item[0], item[0]))
    return [Money(currency=currency or None, amount=amount) for currency, amount in known if amount]


def _instances(counts: Iterable[FlowCount], what: str, value: FlowStatus | IssueKind | str) -> int:
    return sum(count.instances for count in counts if count.what == what and count.value == value)


def _trend(counts: Sequence[FlowCount]) -> list[TrendPoint]:
    by_minute: dict[datetime, list[FlowCount]] = {}
    for count in counts:
        by_minute.setdefault(count.minute, []).append(count)
    return [
        TrendPoint(
            minute=minute,
            settled=sum(_instances(minute_counts, "status", status) for status in SETTLED),
            matched=sum(_instances(minute_counts, "status", status) for status in _AGREED),
        )
        for minute, minute_counts in sorted(by_minute.items())
    ]
