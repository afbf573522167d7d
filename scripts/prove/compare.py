"""Compares what was made to go wrong with what Helios reports."""

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
"""The verdict that an order with this anomaly must get, the first of several; one without must be ``matched``."""

Finding = tuple[str, Anomaly]
"""An order's id and what is wrong with it."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of anomaly was found.

    Attributes:
        kind: which.
        injected: orders it befell.
        detected: orders of which Helios says so.
        right: orders in both.
        seconds: median time from an order's first event to the report, None without any report that was seen live.
    """

    kind: Anomaly
    injected: int
    detected: int
    right: int
    seconds: float | None

    @property
    def precision(self) -> float | None:
        """The share of the reports that are true; None without reports."""
        return self.right / self.detected if self.detected else None

    @property
    def recall(self) -> float | None:
        """The share of the anomalies that were reported; None without anomalies."""
        return self.right / self.injected if self.injected else None

    @property
    def perfect(self) -> bool:
        """Whether nothing was overlooked and nothing made up."""
        return self.injected == self.detected == self.right


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run.

    Attributes:
        scores: one for each kind, all of them named.
        wrong: what is not as it should be, a sentence each; empty when the proof holds.
    """

    scores: list[Score]
    wrong: list[str]


def compare(
    truth: Iterable[Injection],
    flows: Sequence[FlowInstance],
    poisoned: Iterable[str],
    *,
    orders: int,
    reported_at: Mapping[Finding, datetime],
) -> Comparison:
    """Hold the reports against the truth.

    Args:
        truth: the anomalies that were injected; one that is not certain may be reported, and need not be.
        flows: what Helios says of every order, after the last deadline.
        poisoned: of each rejected delivery, the order it tells of.
        orders: how many were placed.
        reported_at: when each finding was first seen on the live stream.
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
    found: set[Finding] = reported | {(order, "poison") for order in poisoned}
    found -= allowed - expected
    delays: dict[Anomaly, list[float]] = defaultdict(list)
    for (order, kind), at in reported_at.items():
        if order in opened:
            delays[kind].append((at - opened[order]).total_seconds())
    scores = [
        Score(
            kind=kind,
            injected=sum(1 for _, what in expected if what == kind),
            detected=sum(1 for _, what in found if what == kind),
            right=sum(1 for _, what in expected & found if what == kind),
            seconds=median(delays[kind]) if delays[kind] else None,
        )
        for kind in ANOMALIES
    ]
    wrong = [f"{order}: {kind} was not reported" for order, kind in sorted(expected - found)]
    wrong += [f"{order}: {kind} was reported, and never happened" for order, kind in sorted(found - expected)]
    wrong += [
        f"{flow.key}: is {flow.status}, and should be {due}"
        for flow in flows
        if flow.status != (due := _due(injected.get(flow.key, set())))
    ]
    if len(flows) != orders:
        wrong.append(f"{orders} orders were placed, and Helios knows {len(flows)}")
    return Comparison(scores=scores, wrong=wrong)


def _due(kinds: AbstractSet[Anomaly]) -> FlowStatus:
    return next((status for kind, status in STATUS_OF.items() if kind in kinds), "matched")


def _expected(injected: Mapping[str, AbstractSet[Anomaly]]) -> set[Finding]:
    """What must be reported: a leg that can't be read is a leg that is missing, too."""
    findings = {(order, kind) for order, kinds in injected.items() for kind in kinds}
    return findings | {(order, "missing") for order, kind in findings if kind == "poison"}
