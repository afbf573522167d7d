"""What one caller sees: every read path of the API, narrowed and masked in one place."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from helios.errors import Rejected
from helios.model.access import EVERYTHING, MASKED, EventLimits, Visibility
from helios.model.balances import Balance, BalanceFilter
from helios.model.counts import MinuteCount, Totals
from helios.model.dead_letters import DeadLetterFilter, DeadLetterGroup, StoredDeadLetter
from helios.model.events import Event, EventFilter, Key
from helios.model.flows import (
    NEED_SOMEBODY,
    PROBLEMS,
    FlowFilter,
    FlowInstance,
    FlowInstanceDetails,
    FlowStatus,
    Resolution,
)
from helios.model.incidents import Incident, IncidentFilter, IncidentLimits
from helios.model.paging import Page
from helios.model.recoveries import Diagnosis
from helios.model.replay import ReplayJob
from helios.model.resolutions import Workload
from helios.model.sources import BUILT_IN, Source
from helios.model.spellings import spellings
from helios.model.stream import StreamFrame, StreamWindow
from helios.model.traces import Trace
from helios.normalise.mask import mask_of
from helios.normalise.traces import trace_context
from helios.ports.balances import BalanceReader
from helios.ports.flows import FlowReader
from helios.ports.incidents import IncidentReader
from helios.ports.reader import Reader
from helios.ports.recoveries import Recoveries
from helios.ports.replay import ReplayJobs
from helios.ports.resolutions import Resolutions
from helios.ports.stream import Outbox
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evaluate import AFTER, FlowEvaluator
from helios.reconciliation.evidence import EvidenceExtractor, EvidenceSet, first_receipts
from helios.reconciliation.masking import FlowMask, event_limits, visible_flows
from helios.reconciliation.record import FlowKey, FlowRecord, FlowSums, record, to_instance
from helios.reconciliation.timeline import timeline
from helios.services.diagnosis import diagnose
from helios.sources.registry import CLOUDS
from helios.sources.registry import Sources as DeclaredSources

Views = Callable[[Visibility], "View"]
"""Returns what a caller with this visibility sees."""

MAX_EVENTS = 500
"""The most events from which an instance is rebuilt."""


MAX_RECOVERIES = 100
"""The most past recoveries of an instance that its diagnosis considers."""

TRACE_ID = "{trace_id}"
"""What HELIOS_TRACE_URL has in the place of the id."""


class Sources(NamedTuple):
    """What a view reads from.

    Attributes:
        places: the names of the places where recoveries look, by cloud.
        trace_url: where a trace is shown, with TRACE_ID in the place of its id; None: traces have no URL.
        registry: the declared sources, which say where their events name an order.
    """

    reader: Reader
    flows: FlowReader
    outbox: Outbox
    jobs: ReplayJobs
    evaluators: Mapping[str, FlowEvaluator]
    resolutions: Resolutions
    incidents: IncidentReader
    balances: BalanceReader
    recoveries: Recoveries
    places: Mapping[Source, Sequence[str]] = {}
    trace_url: str | None = None
    registry: DeclaredSources = CLOUDS


class View:
    """Reads the store for one caller. No method returns, counts or matches anything that the caller may not see.

    Attributes:
        visibility: what the caller may see.
        declarations: the flows whose instances the caller may see, by name.
    """

    def __init__(self, sources: Sources, visibility: Visibility = EVERYTHING) -> None:
        """Take the ports, and what the caller may see."""
        self._reader, self._flows, self._outbox, self._jobs = sources[:4]
        self._evaluators, self._resolutions, self._incidents, self._balances = sources[4:8]
        self._recoveries, self._places, self._trace_url, self._registry = sources[8:]
        self.visibility = visibility
        declared = [evaluator.flow for evaluator in self._evaluators.values()]
        self.declarations: dict[str, Flow] = visible_flows(declared, visibility)
        self._limits = event_limits(self.declarations, visibility)
        self._mask = mask_of(visibility)
        self._incident_limits = self._limits_of_incidents()
        self._flow_masks = {name: FlowMask(flow, self._limits, visibility) for name, flow in self.declarations.items()}

    def sees_source(self, name: Source) -> bool:
        """Whether the caller may see that there is a source of this name."""
        return self._limits.allows_source(name)

    def events(self, where: EventFilter, *, after: str | None, limit: int) -> Page[Event]:
        """A page of events, the newest ``received_at`` first; see ``EventReader``.

        Raises:
            Rejected: ``after`` is not a cursor, or the filter names a masked field.
        """
        self.visibility.check_searchable(order_id=where.order_id, **(where.attributes or {}))
        where = msgspec.structs.replace(where, limits=self._limits)
        page = self._reader.events(where, after=after, limit=limit)
        return msgspec.structs.replace(page, items=[self._shown(event) for event in page.items])

    def event(self, key: Key) -> Event | None:
        """The event with this identity; None if there is none that the caller may see."""
        event = self._reader.event(key)
        return self._shown(event) if event and self._limits.allows(event.source, event.type) else None

    def minutes(self, since: datetime) -> list[MinuteCount]:
        """The counts from the minute ``since`` on; see ``CountReader``."""
        return self._reader.minutes(since, self._limits)

    def totals(self, now: datetime) -> Totals:
        """The totals at the latest position of the stream."""
        self._outbox.catch_up()
        if self._limits == EventLimits():
            return self._reader.totals(now, only_numbered=True)
        return self._reader.limited_totals(now, self._limits)

    def dead_letters(self, where: DeadLetterFilter, *, after: str | None, limit: int) -> Page[StoredDeadLetter]:
        """A page of dead letters, the newest first.

        Raises:
            Rejected: ``after`` is not a cursor, or the filter names the reason, which may quote masked fields.
        """
        if self.visibility.masked and where.reason is not None:
            reason = "may quote a field that is masked for this token. Search by status or field."
            raise Rejected(reason, field="reason", status=403)
        where = msgspec.structs.replace(where, limits=self._limits)
        page = self._reader.dead_letters(where, after=after, limit=limit)
        return msgspec.structs.replace(page, items=[self._masked(stored) for stored in page.items])

    def dead_letter(self, number: int) -> StoredDeadLetter | None:
        """The dead letter with this id; None if there is none that the caller may see."""
        stored = self._reader.dead_letter(number)
        if stored is None or self._limits.by_content or not self._limits.allows_source(stored.dead_letter.source):
            return None
        return self._masked(stored)

    def dead_letter_groups(self, where: DeadLetterFilter, *, limit: int) -> list[DeadLetterGroup]:
        """Dead letters grouped by fault, the largest group first; by reason only if no field is masked."""
        where = msgspec.structs.replace(where, limits=self._limits)
        if not self.visibility.masked:
            return self._reader.dead_letter_groups(where, limit=limit)
        groups = self._reader.dead_letter_groups(where, limit=limit, by_reason=False)
        return [msgspec.structs.replace(group, reason=MASKED) for group in groups]

    def flows(self, where: FlowFilter, *, after: str | None, limit: int) -> Page[FlowInstance]:
        """A page of flow instances, the newest ``opened_at`` first."""
        names = self._visible(where.flow)
        if not names:
            return Page(items=[], next_cursor=None)
        page = self._flows.flows(msgspec.structs.replace(where, flow=names), after=after, limit=limit)
        resolutions = self._resolutions.resolutions([record.identity for record in page.items])
        instances = [self._instance(record, resolutions) for record in page.items]
        return Page(items=instances, next_cursor=page.next_cursor)

    def flow(self, flow: str, key: str) -> FlowInstanceDetails | None:
        """A flow instance with its events and its timeline; None if there is none that the caller may see."""
        if flow not in self.declarations:
            return None
        stored_record = self._flows.flow((flow, key))
        instance, stored = (stored_record, []) if stored_record else self._rebuilt(flow, key)
        if instance is None:
            return None
        receipts = first_receipts(instance.evidence_set.items)
        if stored_record:
            stored = self._reader.find(receipts.keys(), received_at=receipts)
        else:
            stored = [event for event in stored if event.key in receipts]
        events = [self._shown(event) for event in stored if self._limits.allows(event.source, event.type)]
        return FlowInstanceDetails(
            **msgspec.structs.asdict(self._instance(instance, self._resolutions.resolutions([(flow, key)]))),
            events=sorted(events, key=lambda event: (event.received_at, event.key)),
            timeline=self._flow_masks[flow].steps(timeline(self._evaluators[flow], instance)),
            rebuilt=msgspec.UNSET if stored_record else True,
        )

    def diagnoses(self, flow: str, key: str) -> list[Diagnosis] | None:
        """Why the legs of a flow instance are missing; None if there is no instance that the caller may see."""
        record = self._flows.flow((flow, key)) if flow in self.declarations else None
        if record is None:
            return None
        evaluator = self._evaluators[flow]
        diagnoses = diagnose(
            evaluator.flow,
            to_instance(evaluator, record),
            reader=self._reader,
            recoveries=self._recoveries.page(instance=(flow, key), after=None, limit=MAX_RECOVERIES).items,
            places=self._places,
            limits=self._limits,
            show=self._masked,
        )
        visible = {leg.name for leg in self.declarations[flow].leg}
        return [diagnosis for diagnosis in diagnoses if diagnosis.leg in visible]

    def _shown(self, event: Event) -> Event:
        """The event without what the caller may not see, with its trace if its attributes name one."""
        masked = self._mask.event(event)
        context = trace_context(masked.attributes)
        if context is None:
            return masked
        url = self._trace_url.replace(TRACE_ID, context.trace_id) if self._trace_url else None
        return msgspec.structs.replace(masked, trace=Trace(id=context.trace_id, url=url))

    def _rebuilt(self, flow: str, key: str) -> tuple[FlowRecord | None, Sequence[Event]]:
        """The record of an instance that retention has removed: what follows from its events, hot or archived.

        The events come with it: they would not be found by their identities if retention has removed these too.

        Only settled instances are removed, so that its deadline has passed. The events are found by their order: an
        instance does not follow from them if another field is the key of any leg, since its events may be missing then.
        """
        if not _is_keyed_by_order(self._evaluators[flow].flow):
            return None, []
        events = self._reader.events(EventFilter(order_id=key), after=None, limit=MAX_EVENTS).items
        extractor = EvidenceExtractor([self._evaluators[flow].flow], self._registry)
        evidence = [item.evidence for event in events for item in extractor.extract(event) if item.key == key]
        if not evidence:
            return None, []
        evidence_set = self._evaluators[flow].merge([EvidenceSet(items=[item]) for item in evidence])
        return record(self._evaluators[flow], key, evidence_set, now=AFTER, version=1), events

    def flow_sums(self, flow: str | None, *, since: datetime, until: datetime, bucket: timedelta) -> FlowSums:
        """The sums of the instances of one flow, or of all that the caller may see; see ``FlowReader``."""
        self._outbox.catch_up()
        if not self.visibility.is_limited:
            return self._flows.flow_sums(None if flow is None else (flow,), since=since, until=until, bucket=bucket)
        names = self._visible(() if flow is None else (flow,))
        sums = self._flows.flow_sums(names, since=since, until=until, bucket=bucket)
        counts = [
            count
            for name in names
            for count in self._flow_masks[name].counts(count for count in sums.counts if count.flow == name)
        ]
        return msgspec.structs.replace(sums, counts=counts)

    def oldest_open(self, flow: str | None) -> datetime | None:
        """When the oldest open instance of one flow, or of all that the caller may see, was opened."""
        return self._flows.oldest_open(self._visible(() if flow is None else (flow,)))

    def workload(self, now: datetime) -> Sequence[Workload]:
        """The unresolved problems of the flows that the caller may see, by age and assignee."""
        targets = {name: flow.target_seconds for name, flow in self.declarations.items()}
        return self._resolutions.workload(targets, now=now)

    def frames(self, *, after: int, limit: int) -> list[StreamFrame]:
        """The numbered frames that follow a position, in order; a frame of which the caller sees nothing is empty."""
        return [self.frame(frame) for frame in self._outbox.frames(after=after, limit=limit)]

    def window(self) -> StreamWindow:
        """The positions that are still stored."""
        self._outbox.catch_up()
        return self._outbox.window()

    def frame(self, frame: StreamFrame) -> StreamFrame:
        """The part of a frame that the caller may see."""
        if not self.visibility.is_limited:
            return frame
        events = [self._mask.summary(event) for event in frame.events if self._limits.allows(event.source, event.type)]
        return msgspec.structs.replace(
            frame,
            counts=[count for count in frame.counts if self._limits.allows(count.source, count.type)],
            events=events,
            flows=[
                self._flow_masks[change.flow].change(change)
                for change in frame.flows
                if change.flow in self._flow_masks
            ],
            flow_statuses={
                name: statuses for name, statuses in frame.flow_statuses.items() if name in self._flow_masks
            },
            replay=frame.replay if events else None,
        )

    def job(self, number: int) -> ReplayJob | None:
        """The replay job with this id; None if there is none that the caller may see."""
        job = self._jobs.get(number)
        return self._masked_job(job) if job and self._sees(job) else None

    def incidents(self, where: IncidentFilter, *, after: str | None, limit: int) -> Page[Incident]:
        """A page of incidents, the newest first."""
        where = msgspec.structs.replace(where, limits=self._incident_limits)
        page = self._incidents.incidents(where, after=after, limit=limit)
        return msgspec.structs.replace(page, items=[self.masked_incident(incident) for incident in page.items])

    def balances(self, where: BalanceFilter, *, after: str | None, limit: int) -> Page[Balance]:
        """A page of balances, the newest minute first.

        Raises:
            Rejected: ``after`` is not a cursor of an earlier page.
        """
        return self._balances.balances(msgspec.structs.replace(where, limits=self._limits), after=after, limit=limit)

    def incident(self, number: int) -> Incident | None:
        """The incident with this id; None if there is none that the caller may see."""
        incident = self._incidents.incident(number)
        if incident is None or not self._incident_limits.allows(incident.cause):
            return None
        return self.masked_incident(incident)

    def incident_instances(self, incident: Incident, *, after: str | None, limit: int) -> Page[FlowInstance]:
        """A page of the flow instances of an incident, the newest ``opened_at`` first; empty if it is about others.

        The cause of an incident may break instances again later: those that opened in its time are shown. As in its
        number, those that a person has resolved are left out.
        """
        cause = incident.cause
        if incident.since is None or cause.kind not in {"flow", "silence"}:
            return Page(items=[], next_cursor=None)
        status: tuple[FlowStatus, ...] = PROBLEMS if cause.kind == "flow" else ("open",)
        where = FlowFilter(
            flow=(cause.flow,) if cause.flow else (),
            status=status,
            cause=cause.key,
            resolution=NEED_SOMEBODY,
            since=incident.since,
            until=incident.until,
        )
        return self.flows(where, after=after, limit=limit)

    def _limits_of_incidents(self) -> IncidentLimits:
        if not self.visibility.is_limited:
            return IncidentLimits()
        sources = self._limits.sources
        return IncidentLimits(
            flows=tuple(self.declarations),
            sources=sources,
            dead_letters=() if self._limits.by_content else sources,
            consumers=False,
        )

    def masked_incident(self, incident: Incident) -> Incident:
        """The incident without the amounts that the caller may not see, and without a reason if a field is masked."""
        cause = incident.cause
        if mask := self._flow_masks.get(cause.flow or ""):
            return msgspec.structs.replace(incident, amounts=mask.amounts(incident.amounts))
        if cause.kind == "silence" and self.visibility.is_limited:
            return msgspec.structs.replace(incident, number=0, amounts=[])  # of the instances of every flow
        if cause.kind == "dead_letters" and self.visibility.masked:
            hidden = msgspec.structs.replace(cause, reason=cause.reason and MASKED)
            return msgspec.structs.replace(incident, cause=hidden, title=f"Dead letters of {cause.source}")
        return incident

    def jobs(self, *, after: str | None, limit: int) -> Page[ReplayJob]:
        """A page of replay jobs, the newest first; shorter than ``limit`` if the caller may not see all of them."""
        page = self._jobs.page(after=after, limit=limit)
        return msgspec.structs.replace(page, items=[self._masked_job(job) for job in page.items if self._sees(job)])

    def _sees(self, job: ReplayJob) -> bool:
        """Whether the caller may see everything that a job can send: its counts and its checkpoint reveal it."""
        if job.what == "dead_letters":
            return not self._limits.by_content and self._limits.allows_source(job.filter.source)
        return self._limits.allows(job.filter.source, job.filter.type or "")

    def _masked_job(self, job: ReplayJob) -> ReplayJob:
        """The job without what may quote a masked field: its search, and the answer of a target."""
        if not self.visibility.masked:
            return job
        where = job.filter
        order_id = MASKED if where.order_id and self.visibility.masks("order_id") else where.order_id
        where = msgspec.structs.replace(where, order_id=order_id, reason=where.reason and MASKED)
        return msgspec.structs.replace(job, filter=where, last_error=job.last_error and MASKED)

    def _masked(self, stored: StoredDeadLetter) -> StoredDeadLetter:
        keys = [key for key in stored.replayed_keys if self._limits.allows_source(key[0])]
        return self._mask.dead_letter(msgspec.structs.replace(stored, replayed_keys=keys))

    def _visible(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The flows among these (none: all) that the caller may see."""
        return tuple(name for name in names or self.declarations if name in self.declarations)

    def _instance(self, record: FlowRecord, resolutions: Mapping[FlowKey, Resolution]) -> FlowInstance:
        instance = to_instance(self._evaluators[record.flow], record)
        resolution = resolutions.get(record.identity)
        return self._flow_masks[record.flow].instance(msgspec.structs.replace(instance, resolution=resolution))


def _is_keyed_by_order(flow: Flow) -> bool:
    """Whether the order of an event, by which the store finds it, is the key of every leg.

    A declared source says where its events name the order, and only ``order_id`` means that place.
    """
    return all(
        path == "order_id" or (leg.source in BUILT_IN and "order_id" in spellings(path))
        for leg in flow.leg
        for path in flow.keys_of(leg)
    )
