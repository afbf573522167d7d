"""Compares the injected anomalies with those that Helios reports."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from statistics import median

import msgspec

from helios.model.flows import FlowInstance, FlowStatus
from scripts.simulator.anomalies import ANOMALIES, Anomaly, Injection

STATUS_OF: Mapping[Anomaly, FlowStatus] = {
    "mismatch": "mismatched",
    "missing": "incomplete",
    "poison": "incomplete",
    "late": "matched_late",
    "duplicate": "matched",
    "contradictory": "matched",
}
"""The verdict of an order with this anomaly; with several, the first here counts. Without any it is ``matched``."""

Finding = tuple[str, Anomaly]
"""An order's id and an anomaly."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """The score of one kind of anomaly.

    Attributes:
        kind: the kind of anomaly.
        injected: orders with this anomaly.
        detected: orders for which Helios reported it.
        right: orders in both.
        seconds: median time from an order's first event to the report; None without a report on the live stream.
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
) -> Comparison:
    """Compare the reports with the truth.

    Args:
        truth: the injected anomalies; an uncertain one may or may not be reported.
        flows: Helios' flow instance of every order, after the last deadline.
        poisoned: the order of each rejected delivery.
        orders: how many orders were placed.
        reported_at: when the live stream first contained each finding.
    """
    injected: dict[str, set[Anomaly]] = defaultdict(set)
    allowed: set[Finding] = set()
    for injection in truth:
        if injection.certain:
            injected[injection.order_id].add(injection.anomaly)
        else:
            allowed.add((injection.order_id, injection.anomaly))
    opened = {flow.key: flow.opened_at for flow in flows}
    expected = _expected(injected)
    reported = {(flow.key, issue.kind) for flow in flows for issue in flow.issues}
    detected: set[Finding] = reported | {(order, "poison") for order in poisoned}
    detected -= allowed - expected
    delays: dict[Anomaly, list[float]] = defaultdict(list)
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
    ]
    differences = [f"{order}: {kind} was not reported" for order, kind in sorted(expected - detected)]
    differences += [f"{order}: {kind} was reported, but did not happen" for order, kind in sorted(detected - expected)]
    differences += [
        f"{flow.key}: is {flow.status}, should be {status}"
        for flow in flows
        if flow.status != (status := _expected_status(injected.get(flow.key, set())))
    ]
    if len(flows) != orders:
        differences.append(f"{orders} orders were placed, but Helios has {len(flows)}")
    return Comparison(scores=scores, differences=differences)


def _count(findings: AbstractSet[Finding], kind: Anomaly) -> int:
    return sum(1 for _, anomaly in findings if anomaly == kind)


def _expected_status(kinds: AbstractSet[Anomaly]) -> FlowStatus:
    return next((status for kind, status in STATUS_OF.items() if kind in kinds), "matched")


def _expected(injected: Mapping[str, AbstractSet[Anomaly]]) -> set[Finding]:
    """The findings that Helios must report: a leg with a poison message is also missing."""
    findings = {(order, kind) for order, kinds in injected.items() for kind in kinds}
    return findings | {(order, "missing") for order, kind in findings if kind == "poison"}
