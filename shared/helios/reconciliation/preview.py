"""What other rules would say of events that are stored already, beside what was said of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from helios.model.events import Event
from helios.model.flows import STATUSES, FlowInstance, FlowIssue, FlowStatus
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.evidence import EvidenceSet, Interest, add_up
from helios.reconciliation.record import FlowKey

StatusOrNone = FlowStatus | Literal["none"]
"""``none``: there is no such story."""

STATUSES_OR_NONE: tuple[StatusOrNone, ...] = (*STATUSES, "none")


class Difference(NamedTuple):
    """A story of which the rules would say something else.

    Attributes:
        flow: the flow's name.
        key: the story's key.
        recorded: what Helios says of it now.
        previewed: what it would say.
        issues: what would be wrong with it.
    """

    flow: str
    key: str
    recorded: StatusOrNone
    previewed: StatusOrNone
    issues: list[FlowIssue]


class Preview(NamedTuple):
    """What changes.

    Attributes:
        instances: how many were compared.
        contradictory: how many could not be: their contradictions are dead letters, and only events are read here.
        recorded: stories by what Helios says of them now.
        previewed: the same stories by what it would say.
        differences: sorted by flow and key.
    """

    instances: int
    contradictory: int
    recorded: Counter[StatusOrNone]
    previewed: Counter[StatusOrNone]
    differences: list[Difference]


def patience(flows: Sequence[Flow]) -> timedelta:
    """How long the longest story may take: events from so much earlier may belong to one that begins now."""
    return timedelta(seconds=max(flow.window_seconds + flow.grace_seconds for flow in flows))


def preview(
    flows: Sequence[Flow], events: Iterable[Event], recorded: Iterable[FlowInstance], *, since: datetime, now: datetime
) -> Preview:
    """Judge the stories that began since a moment by these flows, and compare.

    Args:
        flows: the declaration to try.
        events: what was received from ``since - patience(flows)`` until ``now``, in any order.
        recorded: the stories that are recorded of these flows since then.
        since: stories that began earlier are left out, because a part of them may be too.
        now: decides which deadlines have passed. Stories that were told more of since are left out.
    """
    interest = Interest(flows)
    pending: dict[FlowKey, list[EvidenceSet]] = defaultdict(list)
    for event in events:
        for clue in interest.clues(event):
            pending[clue.flow.name, clue.key].append(EvidenceSet(items=[clue.evidence]))
    evaluators = {flow.name: FlowEvaluator(flow) for flow in flows}
    verdicts = {(flow, key): evaluators[flow].verdict(add_up(told), now=now) for (flow, key), told in pending.items()}
    known = {(row.flow, row.key): row for row in recorded if row.flow in evaluators and row.opened_at >= since}
    moving = {instance for instance, row in known.items() if row.updated_at > now}
    contradictory = {
        instance for instance, row in known.items() if any(issue.kind == "contradictory" for issue in row.issues)
    } - moving
    young = {instance for instance, verdict in verdicts.items() if verdict.opened_at >= since}
    before: Counter[StatusOrNone] = Counter()
    after: Counter[StatusOrNone] = Counter()
    differences: list[Difference] = []
    for instance in sorted((young | known.keys()) - contradictory - moving):
        row, verdict = known.get(instance), verdicts.get(instance)
        was: StatusOrNone = row.status if row else "none"
        would_be: StatusOrNone = verdict.status if verdict else "none"
        before[was] += 1
        after[would_be] += 1
        if was != would_be:
            differences.append(Difference(*instance, was, would_be, verdict.issues if verdict else []))
    return Preview(before.total(), len(contradictory), before, after, differences)
