"""What a version of a flow would change in the instances of the last days, within seconds.

Two ways lead to it. If the version has the legs of the rules in force, its verdicts follow from the recorded instances:
a random sample of them is evaluated, as many as the time allows. If it has other legs, events may belong to it that no
instance has recorded: then the newest events are read, as many as the time allows.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from helios.model.events import Event, EventFilter
from helios.model.flow_versions import FlowPreview, PreviewedChange, PreviewExample, PreviewGroup, StatusOrNone
from helios.model.flows import PROBLEMS, FlowFilter, FlowInstance
from helios.ports.events import EventReader
from helios.ports.flows import FlowReader
from helios.ports.unit_of_work import EventStore
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.evidence import EvidenceExtractor
from helios.reconciliation.leg import Leg
from helios.reconciliation.preview import Difference, longest_time_to_deadline, preview
from helios.reconciliation.record import FlowKey, to_instance
from helios.services.recompute import extract, receipts_of, reread_evidence
from helios.services.reconciler import Reconciler

CHUNK: Final = 200
"""Instances that are read and evaluated at once: the clock is read after each chunk."""

PAGE: Final = 500
"""Events or instances that are read at once from the newest on."""

MAX_SAMPLE: Final = 6_000
"""The largest sample: about as many as a core evaluates in the time of a preview. More would read more pages first."""

MAX_EXAMPLES: Final = 20

PROBLEM_SHARE: Final = 0.4
"""The part of the time for the sample of problems: few instances are problems, and versions are written for them."""

READING_SHARE: Final = 0.15
"""The part of the time for reading events. Reading their instances takes longer, and evaluating them takes less."""

RECORDED_SHARE: Final = 0.6
"""The part of the time after which no more instances of the newest events are read."""


class PreviewSources(NamedTuple):
    """What a preview reads from."""

    flows: FlowReader
    events: EventReader
    store: EventStore


def preview_flow(
    flow: Flow,
    in_force: Reconciler,
    *,
    read_from: PreviewSources,
    since: datetime,
    now: datetime,
    seconds: float,
) -> FlowPreview:
    """Compare the verdicts of a version with the recorded ones. It changes nothing.

    Args:
        flow: the version.
        in_force: evaluates by the rules in force.
        read_from: where the instances and events are.
        since: the beginning of the period; its end is ``now``.
        now: decides which deadlines have passed.
        seconds: the time after which nothing more is read. The result says what was compared by then.

    Raises:
        Retryable: the store can't be reached.
    """
    started = time.monotonic()
    evaluator = in_force.evaluators.get(flow.name)
    if evaluator and _evidence_of(evaluator.flow) == _evidence_of(flow):
        sampled = _Sampler(flow, in_force, read_from, since, now)
        return sampled.preview(started, seconds)
    return _preview_of_newest(flow, in_force, read_from, since=since, now=now, started=started, seconds=seconds)


def _evidence_of(flow: Flow) -> list[tuple[object, ...]]:
    """Which events belong to a flow, as which parts of which instances."""
    return [_evidence_of_leg(flow, leg) for leg in flow.leg]


def _evidence_of_leg(flow: Flow, leg: Leg) -> tuple[object, ...]:
    return (leg.name, leg.type, leg.source, flow.keys_of(leg), leg.many, leg.id, leg.max_evidence)


class _Sampler:
    """Evaluates a random sample of the recorded instances of a flow."""

    def __init__(
        self, flow: Flow, in_force: Reconciler, read_from: PreviewSources, since: datetime, now: datetime
    ) -> None:
        self._evaluator = FlowEvaluator(flow, in_force.sources)
        self._extractor = EvidenceExtractor([flow], in_force.sources)
        self._read_from = read_from
        self._since = since
        self._now = now
        self._changes: Counter[tuple[bool, StatusOrNone, StatusOrNone]] = Counter()
        self._examples: list[Difference] = []

    def preview(self, started: float, seconds: float) -> FlowPreview:
        """Evaluate problems first, and then the other instances."""
        problems = self._group(started + PROBLEM_SHARE * seconds, without=None)
        others = self._group(started + seconds, without=problems.instances)
        groups = {True: problems, False: others}
        changes: dict[tuple[StatusOrNone, StatusOrNone], PreviewedChange] = {}
        for (is_problem, recorded, previewed), number in sorted(self._changes.items()):
            changes[recorded, previewed] = PreviewedChange(
                recorded=recorded,
                previewed=previewed,
                compared=number,
                estimated=round(number * groups[is_problem].instances / groups[is_problem].compared),
            )
        return FlowPreview(
            flow=self._evaluator.flow.name,
            method="sample",
            since=self._since,
            until=self._now,
            covered_since=self._since,
            problems=problems,
            others=others,
            changes=list(changes.values()),
            examples=_examples(self._examples),
            seconds=round(time.monotonic() - started, 2),
        )

    def _group(self, deadline: float, *, without: int | None) -> PreviewGroup:
        """Evaluate a sample until the time is over: of the problems, or of all instances ``without`` these."""
        flows, name, problems = self._read_from.flows, self._evaluator.flow.name, without is None
        among = flows.count(name, since=self._since, until=self._now, problems=problems)
        number = among - (without or 0)
        sample = flows.sample(
            name, since=self._since, until=self._now, problems=problems, among=among, limit=MAX_SAMPLE
        )
        compared = 0
        for chunk in _chunks(sample):
            compared += self._compare(chunk, problems=problems)
            if time.monotonic() > deadline:
                break
        return PreviewGroup(instances=max(number, compared), compared=compared)

    def _compare(self, keys: Sequence[FlowKey], *, problems: bool) -> int:
        """Compare the instances that belong to the group, and return their number."""
        records = {
            key: record
            for key, record in self._read_from.store.instances(keys).items()
            if (record.status in PROBLEMS) == problems
        }
        receipts = receipts_of(records.values())
        found = self._read_from.events.find(receipts.keys(), received_at=receipts)
        events = {event.key: event for event in found}
        evidence = extract(self._extractor, events.values())
        for key, record in records.items():
            evidence_set = reread_evidence(self._evaluator, record, evidence.get(key, {}), events)
            verdict = self._evaluator.verdict(evidence_set, now=self._now)
            if verdict.status != record.status:
                self._changes[problems, record.status, verdict.status] += 1
                self._examples.append(Difference(*key, record.status, verdict.status, verdict.issues))
        return len(records)


def _chunks(keys: Sequence[FlowKey]) -> Iterator[Sequence[FlowKey]]:
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))


def _preview_of_newest(
    flow: Flow,
    in_force: Reconciler,
    read_from: PreviewSources,
    *,
    since: datetime,
    now: datetime,
    started: float,
    seconds: float,
) -> FlowPreview:
    """Compare all instances of the newest events."""
    begin = since - longest_time_to_deadline([flow])
    events, is_complete = _newest_events(read_from.events, begin, now, started + READING_SHARE * seconds)
    if not is_complete and events:
        since = min(now, events[-1].received_at + longest_time_to_deadline([flow]))
    recorded, since = _recorded(flow.name, in_force, read_from.flows, since, now, started + RECORDED_SHARE * seconds)
    compared = preview([flow], events, recorded, since=since, now=now, sources=in_force.sources)
    by_change = Counter((each.recorded, each.previewed) for each in compared.differences)
    problems = sum(compared.recorded[status] for status in PROBLEMS)
    return FlowPreview(
        flow=flow.name,
        method="newest",
        since=begin + longest_time_to_deadline([flow]),
        until=now,
        covered_since=since,
        problems=PreviewGroup(instances=problems, compared=problems),
        others=PreviewGroup(instances=compared.instances - problems, compared=compared.instances - problems),
        contradictory=compared.contradictory,
        changes=[
            PreviewedChange(recorded=before, previewed=after, compared=number, estimated=number)
            for (before, after), number in sorted(by_change.items())
        ],
        examples=_examples(compared.differences),
        seconds=round(time.monotonic() - started, 2),
    )


def _newest_events(reader: EventReader, since: datetime, until: datetime, deadline: float) -> tuple[list[Event], bool]:
    """The newest events of a period, and whether these are all of them: the time may be over before."""
    events: list[Event] = []
    after = None
    while True:
        page = reader.events(EventFilter(since=since, until=until), after=after, limit=PAGE)
        events += page.items
        after = page.next_cursor
        if after is None:
            return events, True
        if time.monotonic() > deadline:
            return events, False


def _recorded(
    name: str, in_force: Reconciler, reader: FlowReader, since: datetime, until: datetime, deadline: float
) -> tuple[list[FlowInstance], datetime]:
    """The recorded instances of a flow that opened in a period, the newest first, and the moment since when.

    This is a later one if the time is over before.
    """
    recorded: list[FlowInstance] = []
    evaluator, after = in_force.evaluators.get(name), None
    while evaluator:
        page = reader.flows(FlowFilter(flow=(name,), since=since, until=until), after=after, limit=PAGE)
        recorded += [to_instance(evaluator, record) for record in page.items]
        after = page.next_cursor
        if after is None:
            break
        if time.monotonic() > deadline:
            # The next page may have instances that opened at the same moment as the last one of this page.
            return recorded, recorded[-1].opened_at + timedelta(microseconds=1)
    return recorded, since


def _examples(differences: Sequence[Difference]) -> list[PreviewExample]:
    """Some of the differences, of every kind."""
    by_change: dict[tuple[str, str], list[Difference]] = {}
    for each in differences:
        by_change.setdefault((each.recorded, each.previewed), []).append(each)
    each_share = max(1, MAX_EXAMPLES // max(1, len(by_change)))
    return [
        PreviewExample(key=each.key, recorded=each.recorded, previewed=each.previewed, issues=each.issues)
        for change in sorted(by_change)
        for each in by_change[change][:each_share]
    ]
