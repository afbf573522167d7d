"""The verdicts that changed flows would give to stored events, compared with the recorded verdicts."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from helios.model.events import Event
from helios.model.flow_versions import StatusOrNone
from helios.model.flows import FlowInstance, FlowIssue
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.evidence import EvidenceExtractor, EvidenceSet
from helios.reconciliation.record import FlowKey
from helios.sources.registry import CLOUDS, Sources


class Difference(NamedTuple):
    """An instance whose verdict would change.

    Attributes:
        flow: the name of the flow.
        key: the key of the instance.
        recorded: the verdict now.
        previewed: the verdict under the changed flows.
        issues: the issues under the changed flows.
    """

    flow: str
    key: str
    recorded: StatusOrNone
    previewed: StatusOrNone
    issues: list[FlowIssue]


class Preview(NamedTuple):
    """What would change.

    Attributes:
        instances: the number of instances that were compared.
        contradictory: the number that could not be compared: contradictions are dead letters, and a preview reads only
            events. A delivery that contradicts the time of an event alone is no such issue of its instance, which is
            compared by the time of the event.
        recorded: the number of instances by verdict now.
        previewed: the number of the same instances by verdict under the changed flows.
        differences: the instances whose verdict would change, sorted by flow and key.
    """

    instances: int
    contradictory: int
    recorded: Counter[StatusOrNone]
    previewed: Counter[StatusOrNone]
    differences: list[Difference]


def longest_time_to_deadline(flows: Sequence[Flow]) -> timedelta:
    """The longest time to the deadline: events that are older by this can belong to an instance that opens now."""
    return timedelta(seconds=max(flow.window_seconds + flow.grace_seconds for flow in flows))


def preview(
    flows: Sequence[Flow],
    events: Iterable[Event],
    recorded: Iterable[FlowInstance],
    *,
    since: datetime,
    now: datetime,
    sources: Sources = CLOUDS,
) -> Preview:
    """Evaluate the instances that opened since a moment with these flows, and compare the verdicts.

    Args:
        flows: the changed declaration.
        events: the events received from ``since - longest_time_to_deadline(flows)`` until ``now``, in any order.
        recorded: the recorded instances of these flows since then.
        since: instances that opened earlier are left out, because some of their events may be missing.
        now: decides which deadlines have passed. Instances that were updated later are left out.
        sources: the sources that legs may name.
    """
    extractor = EvidenceExtractor(flows, sources)
    pending: dict[FlowKey, list[EvidenceSet]] = defaultdict(list)
    for event in events:
        for keyed in extractor.extract(event):
            pending[keyed.flow.name, keyed.key].append(EvidenceSet(items=[keyed.evidence]))
    evaluators = {flow.name: FlowEvaluator(flow, sources) for flow in flows}
    verdicts = {
        (flow, key): evaluators[flow].verdict(evaluators[flow].merge(sets), now=now)
        for (flow, key), sets in pending.items()
    }
    known = {(row.flow, row.key): row for row in recorded if row.flow in evaluators and row.opened_at >= since}
    updated_later = {instance for instance, row in known.items() if row.updated_at > now}
    contradictory = {
        instance for instance, row in known.items() if any(issue.kind == "contradictory" for issue in row.issues)
    } - updated_later
    opened_since = {instance for instance, verdict in verdicts.items() if verdict.opened_at >= since}
    before: Counter[StatusOrNone] = Counter()
    after: Counter[StatusOrNone] = Counter()
    differences: list[Difference] = []
    for instance in sorted((opened_since | known.keys()) - contradictory - updated_later):
        row, verdict = known.get(instance), verdicts.get(instance)
        recorded_status: StatusOrNone = row.status if row else "none"
        previewed_status: StatusOrNone = verdict.status if verdict else "none"
        before[recorded_status] += 1
        after[previewed_status] += 1
        if recorded_status != previewed_status:
            differences.append(
                Difference(*instance, recorded_status, previewed_status, verdict.issues if verdict else [])
            )
    return Preview(before.total(), len(contradictory), before, after, differences)
