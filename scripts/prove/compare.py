"""Compares the injected anomalies with those that Helios reports."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from statistics import median
from typing import Final, NamedTuple

import msgspec

from helios.model.flows import FlowInstance, FlowStatus, IssueKind
from helios.model.sources import Source
from scripts.simulator.anomalies import ANOMALIES, LOST, VARIED, Anomaly, Injection

STATUS_OF: Mapping[Anomaly, FlowStatus] = {
    "mismatch": "mismatched",
    "refunds": "mismatched",
    "instalments": "mismatched",
    "currencies": "mismatched",
    "steps": "mismatched",
    "readings": "mismatched",
    "parcels": "incomplete",
    "missing": "incomplete",
    "poison": "incomplete",
    "late": "matched_late",
    "duplicate": "matched",
    "contradictory": "matched",
}
"""The verdict of an order with this anomaly; with several, the first here counts. Without any it is ``matched``."""

BUCKET: Final = timedelta(minutes=1)
FOUND_WITHIN: Final = 2 * BUCKET
"""Within which time after its minute an order that is lost in every cloud must be found."""

Finding = tuple[str, Anomaly | IssueKind]
"""An order's id and an anomaly."""


_ANY_FLOW: AbstractSet[IssueKind] = {"duplicate", "contradictory", "late"}
"""The issues that an event of a varied order can have beside the anomaly of its kind."""


def finding(flow: str, order: str, kind: IssueKind) -> Finding:
    """What an issue reports: of a varied order, the anomaly of its kind, which has the name of the flow."""
    return order, next((varied for varied in VARIED if varied == flow and kind not in _ANY_FLOW), kind)


class Bucket(NamedTuple):
    """The events of one source, type and minute."""

    minute: datetime
    source: Source
    type: str

    @property
    def words(self) -> str:
        """The bucket in words."""
        return f"{self.source} {self.type} of {self.minute:%H:%M}"


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """The score of one kind of anomaly.

    Attributes:
        kind: the kind of anomaly.
        injected: orders with this anomaly; of ``lost``, the events of these orders.
        detected: orders for which Helios reported it; of ``lost``, the events that are missing in a balance.
        right: orders, or events, in both.
        seconds: median time from an order's first event to the report, and from the beginning of the minute of a lost
            event; None without a report.
    """

    kind: Anomaly
    injected: int
    detected: int
    right: int
    seconds: float | None

    @property
    def precision(self) -> float | None:
        """The share of the reports that are correct; None without reports."""
        return self.right / self.detected if self.detected else None

    @property
    def recall(self) -> float | None:
        """The share of the anomalies that were reported; None without anomalies."""
        return self.right / self.injected if self.injected else None

    @property
    def perfect(self) -> bool:
        """Whether every anomaly was reported and every report is correct."""
        return self.injected == self.detected == self.right


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a run.

    Attributes:
        scores: a score for each kind of anomaly.
        differences: a sentence for each difference between truth and reports; empty when the proof holds.
    """

    scores: list[Score]
    differences: list[str]


def compare(
    truth: Iterable[Injection],
    flows: Sequence[FlowInstance],
    poisoned: Iterable[str],
    *,
    orders: int,
    reported_at: Mapping[Finding, datetime],
    missing: Mapping[Bucket, int] = {},
    missing_at: Mapping[Bucket, datetime] = {},
) -> Comparison:
    """Compare the reports with the truth.

    Args:
        truth: the injected anomalies; an uncertain one may or may not be reported.
        flows: Helios' flow instance of every order, after the last deadline.
        poisoned: the order of each rejected delivery.
        orders: how many orders were placed.
        reported_at: when the live stream first contained each finding.
        missing: the events that are missing in the balances.
        missing_at: when a balance first said so.
    """
    truth = list(truth)
    injected: dict[str, set[Anomaly]] = defaultdict(set)
    allowed: set[Finding] = set()
    for injection in truth:
        if injection.anomaly == LOST:
            continue  # nothing of the order has arrived: only balances show it
        if injection.certain:
            injected[injection.order_id].add(injection.anomaly)
        else:
            allowed.add((injection.order_id, injection.anomaly))
    opened = {flow.key: flow.opened_at for flow in flows}
    expected = _expected(injected)
    reported = {finding(flow.flow, flow.key, issue.kind) for flow in flows for issue in flow.issues}
    detected: set[Finding] = reported | {(order, "poison") for order in poisoned}
    detected -= allowed - expected
    delays: dict[Anomaly | IssueKind, list[float]] = defaultdict(list)
    for (order, kind), at in reported_at.items():
        if order in opened:
            delays[kind].append((at - opened[order]).total_seconds())
    scores = [
        Score(
            kind=kind,
            injected=_count(expected, kind),
            detected=_count(detected, kind),
            right=_count(expected & detected, kind),
            seconds=median(delays[kind]) if delays[kind] else None,
        )
        for kind in ANOMALIES
        if kind != LOST
    ]
    lost = lost_events(truth)
    scores.append(_lost_score(lost, missing, missing_at))
    differences = _lost_differences(lost, missing, missing_at)
    differences += [f"{order}: {kind} was not reported" for order, kind in sorted(expected - detected)]
    differences += [f"{order}: {kind} was reported, but did not happen" for order, kind in sorted(detected - expected)]
    differences += [
        f"{flow.key}: is {flow.status}, should be {status}"
        for flow in flows
        if flow.status != (status := _expected_status(injected.get(flow.key, set())))
    ]
    expected_flows = orders - sum(injection.anomaly == LOST for injection in truth)
    if len(flows) != expected_flows:
        differences.append(f"{expected_flows} orders were placed and not lost, but Helios has {len(flows)}")
    return Comparison(scores=scores, differences=differences)


def lost_events(truth: Iterable[Injection]) -> Counter[Bucket]:
    """How many events of each source, type and minute are lost with their orders."""
    return Counter(
        Bucket(event.time.replace(second=0, microsecond=0), event.source, event.type)
        for injection in truth
        for event in injection.lost
    )


def _lost_score(
    lost: Mapping[Bucket, int], missing: Mapping[Bucket, int], missing_at: Mapping[Bucket, datetime]
) -> Score:
    delays = [(missing_at[bucket] - bucket.minute).total_seconds() for bucket in lost if bucket in missing_at]
    return Score(
        kind=LOST,
        injected=sum(lost.values()),
        detected=sum(missing.values()),
        right=sum(min(number, missing.get(bucket, 0)) for bucket, number in lost.items()),
        seconds=median(delays) if delays else None,
    )


def _lost_differences(
    lost: Mapping[Bucket, int], missing: Mapping[Bucket, int], missing_at: Mapping[Bucket, datetime]
) -> list[str]:
    numbers = {bucket: (lost.get(bucket, 0), missing.get(bucket, 0)) for bucket in sorted({*lost, *missing})}
    differences = [
        f"{bucket.words}: {injected} lost, but {reported} are missing"
        for bucket, (injected, reported) in numbers.items()
        if injected != reported
    ]
    return differences + [
        f"{bucket.words}: the loss was found only {(at - bucket.minute).total_seconds():.0f} s after the minute began"
        for bucket, at in sorted(missing_at.items())
        if at > bucket.minute + BUCKET + FOUND_WITHIN
    ]


def _count(findings: AbstractSet[Finding], kind: Anomaly) -> int:
    return sum(1 for _, anomaly in findings if anomaly == kind)


def _expected_status(kinds: AbstractSet[Anomaly]) -> FlowStatus:
    return next((status for kind, status in STATUS_OF.items() if kind in kinds), "matched")


def _expected(injected: Mapping[str, AbstractSet[Anomaly]]) -> set[Finding]:
    """The findings that Helios must report: a leg with a poison message is also missing."""
    findings = {(order, kind) for order, kinds in injected.items() for kind in kinds}
    return findings | {(order, "missing") for order, kind in findings if kind == "poison"}
