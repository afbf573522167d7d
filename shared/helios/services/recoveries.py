"""Brings back a missing leg of one flow instance from a cloud, through ingest, and records what became of it.

Any number of processes may start recoveries; one at a time works on them. Everything that a recovery creates in a cloud
has a name that is stored before, so that the next process finds it when this one dies.
"""

import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from helios.errors import Rejected, TargetUnavailable
from helios.model.events import Delivery, Event
from helios.model.flows import FlowInstance
from helios.model.recoveries import Finding, PlaceSearch, Recovery, RecoveryRequest, RecoveryState
from helios.normalise import normalise
from helios.ports.flows import FlowReader
from helios.ports.leases import Leases
from helios.ports.reader import Reader
from helios.ports.recoveries import Place, Places, Recoveries, Taken, Wanted
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.evidence import EvidenceExtractor
from helios.reconciliation.leg import Leg
from helios.reconciliation.record import FlowRecord, to_instance
from helios.services.diagnosis import how_to_know, missing_legs, published_since, refusals
from helios.services.ingest import Ingest
from helios.sources.registry import CLOUDS, Sources

log = logging.getLogger("helios.recoveries")

LEASE: Final = "recoveries"
"""The lease of the process that works on recoveries."""

POLL: Final = timedelta(seconds=1)
"""How soon to look again at a search that takes time, or for a leg that ingest stores in another process."""

RETRY: Final = timedelta(seconds=10)
"""How soon to ask a place again that did not answer."""

JUDGED_WITHIN: Final = timedelta(minutes=2)
"""How long a recovery waits for the verdict on what it has found, where another process gives it: with a log."""

GIVE_UP: Final = timedelta(minutes=30)
"""After this time a recovery ends, whatever its places do."""

BATCH: Final = 100
"""The most recoveries of one run."""

CLEAN_SECONDS: Final = 60.0
"""How often what earlier processes have left in a cloud is removed."""

MAX_AUTOMATIC_AGE: Final = timedelta(days=1)
"""A policy leaves instances alone that opened earlier."""

EXAMINED: Final = 500
"""The most instances that one run examines for the policy of a flow."""

POLICY: Final = "policy of the flow "
"""How the actor begins of a recovery that a policy has started."""

REPLAY_NAME: Final = "replay-name"
"""The attribute in which EventBridge names the replay of an event."""


class RecoveryStarter:
    """Starts recoveries; a ``RecoveryJob`` then works on them."""

    def __init__(
        self, recoveries: Recoveries, flows: FlowReader, evaluators: Mapping[str, FlowEvaluator], places: Places
    ) -> None:
        """Take the ports, the evaluators of the flows by name, and the places in which a recovery can look."""
        self._places = places
        self._recoveries = recoveries
        self._flows = flows
        self._evaluators = evaluators

    def __call__(
        self, request: RecoveryRequest, *, actor: str, now: datetime, is_automatic: bool = False
    ) -> Recovery | None:
        """Start a recovery; None if one of this leg is running.

        Raises:
            Rejected: the instance is not stored, has no such leg, the leg is not missing, or no place is configured in
                which it could be.
            Retryable: the store can't be reached.
        """
        evaluator = self._evaluators.get(request.flow)
        record = self._flows.flow((request.flow, request.key)) if evaluator else None
        if evaluator is None or record is None:
            raise Rejected(f"has no flow instance {request.flow}/{request.key}", field="key", status=404)
        missing = {leg.name: leg for leg in missing_legs(evaluator.flow, to_instance(evaluator, record))}
        if request.leg not in missing:
            names = ", ".join(missing) or "none"
            raise Rejected(f"{request.leg!r} is not missing; the missing legs are: {names}", field="leg", status=409)
        if not places_of(missing[request.leg], self._places):
            source = missing[request.leg].source
            raise Rejected(f"{request.leg!r} can't be searched. {how_to_know(source, [])}", field="leg", status=409)
        return self._recoveries.start(request, actor=actor, is_automatic=is_automatic, now=now)


class RecoveryJob:
    """Works on the recoveries."""

    def __init__(
        self,
        recoveries: Recoveries,
        *,
        leases: Leases,
        flows: FlowReader,
        reader: Reader,
        ingest: Ingest,
        evaluators: Mapping[str, FlowEvaluator],
        places: Places,
        sources: Sources = CLOUDS,
        is_judged_later: bool = False,
    ) -> None:
        """Take the ports, the evaluators of the flows by name, and the places in which to look.

        ``is_judged_later``: another process stores what was ingested, after a while.
        """
        self._recoveries = recoveries
        self._leases = leases
        self._flows = flows
        self._reader = reader
        self._ingest = ingest
        self._evaluators = evaluators
        self._places = places
        self._start = RecoveryStarter(recoveries, flows, evaluators, places)
        self._sources = sources
        self._is_judged_later = is_judged_later
        self._clean_at = -math.inf
        self._examined: dict[str, FlowRecord] = {}  # by flow, where the next run of its policy continues

    def run(self, now: datetime, *, seconds: float = math.inf) -> int:
        """Start what policies ask for, work on the recoveries that are due, and return how many have ended.

        Args:
            now: decides what is due.
            seconds: the time after which no further recovery is begun.

        Raises:
            Retryable: the store can't be reached. The next run does the rest.
        """
        must_clean = bool(self._places) and time.monotonic() >= self._clean_at
        if not must_clean and not self._has_policy() and not self._recoveries.due(now, limit=1):
            return 0
        deadline = time.monotonic() + seconds
        ended = 0
        with self._leases.take(LEASE) as lease:
            if lease is None:
                return 0
            for evaluator in self._evaluators.values():
                self._apply_policy(evaluator.flow, now)
            for recovery in self._recoveries.due(now, limit=BATCH):
                if time.monotonic() >= deadline or not lease.is_held:
                    break
                ended += self._advance(recovery, now)
            if self._places and time.monotonic() >= self._clean_at:
                self.clean()
        return ended

    def _has_policy(self) -> bool:
        return any(evaluator.flow.recovery for evaluator in self._evaluators.values())

    def clean(self) -> int:
        """Remove what recoveries that have ended left in a cloud, and return how many things were removed."""
        self._clean_at = time.monotonic() + CLEAN_SECONDS
        if not self._recoveries.page(instance=None, after=None, limit=1).items:
            return 0
        prefix = self._recoveries.prefix()
        names = {f"{prefix}{recovery.id}" for recovery in self._recoveries.running()}
        removed = 0
        for place in self._all_places():
            try:
                removed += place.drop_except(names, prefix=prefix)
            except (TargetUnavailable, Rejected) as error:
                log.warning("a place was not cleaned", extra={"place": place.name, "error": str(error)})
        return removed

    def _apply_policy(self, flow: Flow, now: datetime) -> None:
        """Start recoveries of instances without any, no more than the policy of the flow allows in an hour."""
        policy = flow.recovery
        if policy is None:
            return
        allowed = policy.per_hour - self._recoveries.automatic_since(flow.name, now - timedelta(hours=1))
        if allowed <= 0:
            return
        waited = timedelta(seconds=flow.window_seconds + flow.grace_seconds + policy.after_seconds)
        records = self._recoveries.untried(
            flow.name,
            opened_by=now - waited,
            opened_after=now - MAX_AUTOMATIC_AGE,
            before=self._examined.pop(flow.name, None),
            limit=EXAMINED,
        )
        evaluator = self._evaluators[flow.name]
        for record in records:
            if record.resolved:
                continue  # a person has accepted it as it is, or written it off
            for leg in missing_legs(flow, to_instance(evaluator, record)):
                if allowed <= 0:
                    return
                if not places_of(leg, self._places):
                    continue
                request = RecoveryRequest(flow=flow.name, key=record.key, leg=leg.name)
                with suppress(Rejected):  # it has arrived meanwhile, or its instance was removed
                    started = self._start(request, actor=f"{POLICY}{flow.name}", now=now, is_automatic=True)
                    allowed -= started is not None
        if len(records) == EXAMINED:
            # None of these may have a place, and then they come again. The next run examines those that follow.
            self._examined[flow.name] = records[-1]

    def _advance(self, recovery: Recovery, now: datetime) -> bool:
        """Work on a recovery, and return whether it has ended."""
        evaluator = self._evaluators.get(recovery.flow)
        leg = next((leg for leg in evaluator.flow.leg if leg.name == recovery.leg), None) if evaluator else None
        instance = self._instance(recovery)
        if evaluator is None or leg is None or instance is None:
            detail = "The flow, or this leg of it, is no longer declared here."
            return self._end(recovery, now, state="failed", finding="unknown", detail=detail)
        if not places_of(leg, self._places) and now - recovery.requested_at < GIVE_UP:
            return False  # this process does not have the setting; the one that has started the recovery does
        pause = POLL
        if leg in missing_legs(evaluator.flow, instance):
            recovery, pause = self._search(recovery, self._wanted(recovery, evaluator.flow, leg, instance), now)
            instance = self._instance(recovery) or instance
        if leg not in missing_legs(evaluator.flow, instance):
            return self._recovered(recovery, now)
        if self._is_over(recovery, leg) and not self._awaits_verdict(recovery.searches, now):
            return self._not_recovered(recovery, evaluator.flow, leg, instance, now)
        if now - recovery.requested_at >= GIVE_UP:
            detail = "Not every place could be searched in time."
            return self._end(recovery, now, state="failed", finding="unknown", detail=detail)
        self._recoveries.save(recovery, due_at=now + pause)
        return False

    def _instance(self, recovery: Recovery) -> FlowInstance | None:
        evaluator = self._evaluators.get(recovery.flow)
        record = self._flows.flow((recovery.flow, recovery.key))
        return to_instance(evaluator, record) if evaluator and record else None

    def _wanted(self, recovery: Recovery, flow: Flow, leg: Leg, instance: FlowInstance) -> Wanted:
        def take(deliveries: Sequence[Delivery]) -> Taken:
            return self._take(deliveries, flow, leg, recovery.key)

        return Wanted(
            name=self._name(recovery),
            flow=flow,
            leg=leg,
            key=recovery.key,
            since=published_since(flow, instance.opened_at),
            until=recovery.requested_at,
            take=take,
        )

    def _name(self, recovery: Recovery) -> str:
        return f"{self._recoveries.prefix()}{recovery.id}"

    def _take(self, deliveries: Sequence[Delivery], flow: Flow, leg: Leg, key: str) -> Taken:
        """Ingest the deliveries that are this leg of this instance.

        An event that is stored already is not ingested again, so that it is not counted as a duplicate.
        """
        wanted = (flow.name, key, leg.name)
        read = [_read(delivery) for delivery in deliveries]
        events = [event if event and self._is(event, wanted) else None for event in read]
        found = self._reader.find({event.key for event in events if event})
        stored = {event.key for event in found if self._is(event, wanted)}
        new = [
            delivery
            for delivery, event in zip(deliveries, events, strict=True)
            if event is not None and event.key not in stored
        ]
        outcomes = self._ingest(new) if new else []
        return Taken(
            matches=[event is not None for event in events],
            new=sum(outcome.status != "duplicate" for outcome in outcomes),  # one may have arrived meanwhile
        )

    def _is(self, event: Event, wanted: tuple[str, str, str]) -> bool:
        """Whether an event is a leg of an instance, as (flow, key, leg)."""
        # Built each time, because the rules may have changed; a recovery finds few events.
        extractor = EvidenceExtractor([evaluator.flow for evaluator in self._evaluators.values()], self._sources)
        pieces = extractor.extract(event)
        return any((each.flow.name, each.key, each.evidence.leg) == wanted for each in pieces)

    def _search(self, recovery: Recovery, wanted: Wanted, now: datetime) -> tuple[Recovery, timedelta]:
        """Search the places that are not over, and return what was found, and how soon to look again.

        While a find awaits its verdict, only the place that has it is searched on: Helios would not recognise the same
        event in another place as stored.
        """
        searches = {search.place: search for search in recovery.searches}
        pause = POLL
        for place in places_of(wanted.leg, self._places):
            before = searches.get(place.name)
            if before and before.is_over:
                continue
            earlier = before.found if before else 0
            found_at = before.found_at if before else None
            if not earlier and self._awaits_verdict(searches.values(), now):
                continue
            try:
                search = place.search(wanted)
                if earlier:
                    search = replace(search, detail=f"{earlier + search.found} found.")
            except TargetUnavailable as error:
                search = PlaceSearch(place=place.name, is_over=False, detail=f"does not answer: {error}")
                pause = RETRY
            except Rejected as fault:
                search = PlaceSearch(place=place.name, detail=f"can't be searched: {fault.field} {fault.reason}")
            searches[place.name] = replace(
                search, found=search.found + earlier, found_at=now if search.found else found_at
            )
            if search.found and not wanted.leg.many:
                break
        return replace(recovery, searches=tuple(searches.values())), pause

    def _is_over(self, recovery: Recovery, leg: Leg) -> bool:
        over = {search.place for search in recovery.searches if search.is_over}
        return all(place.name in over for place in places_of(leg, self._places))

    def _awaits_verdict(self, searches: Iterable[PlaceSearch], now: datetime) -> bool:
        """Whether the record may not have yet what was found."""
        return self._is_judged_later and any(
            search.found_at is not None and now - search.found_at < JUDGED_WITHIN for search in searches
        )

    def _recovered(self, recovery: Recovery, now: datetime) -> bool:
        found_in = next((search.place for search in recovery.searches if search.found), None)
        if found_in is None and self._is_replayed(recovery):
            found_in = next((search.place for search in recovery.searches if search.redelivers), None)
        if found_in is None:
            return self._end(recovery, now, state="recovered", finding="unknown", detail="The event arrived late.")
        return self._end(
            recovery,
            now,
            state="recovered",
            finding="not_delivered",
            found_in=found_in,
            detail=f"The event had reached the bus, and was not delivered. It was brought back from {found_in}.",
        )

    def _is_replayed(self, recovery: Recovery) -> bool:
        """Whether the leg, or a part of it, arrived in the replay of this recovery."""
        record = self._flows.flow((recovery.flow, recovery.key))
        items = record.evidence_set.of(recovery.leg) if record else []
        events = self._reader.find({item.key for item in items})
        return any(event.attributes.get(REPLAY_NAME) == self._name(recovery) for event in events)

    def _not_recovered(self, recovery: Recovery, flow: Flow, leg: Leg, instance: FlowInstance, now: datetime) -> bool:
        if refused := refusals(flow, leg, instance, reader=self._reader):
            number = refused[0].subject
            detail = f"Helios received the event and refused it: fix and replay {number}."
            return self._end(recovery, now, state="refused", finding="refused", found_in=number, detail=detail)
        found = next((search.place for search in recovery.searches if search.found), None)
        if found:
            detail = f"Events were brought back from {found}, and the leg is still not complete."
            return self._end(recovery, now, state="not_found", finding="not_delivered", found_in=found, detail=detail)
        if complete := self._complete(recovery, leg):
            detail = (
                f"The event never reached the bus, or with another key, type or time: {complete} has every event of "
                "the period, and not this one. Ask its publisher to send it again."
            )
            return self._end(
                recovery, now, state="not_found", finding="never_reached_bus", found_in=complete, detail=detail
            )
        details = [f"{search.place}: {search.detail}" for search in recovery.searches]
        detail = " ".join(details) or how_to_know(leg.source, [])
        return self._end(recovery, now, state="not_found", finding="unknown", detail=detail)

    def _complete(self, recovery: Recovery, leg: Leg) -> str | None:
        """The places that have every event of every cloud from which the leg may come; None if there are none."""
        complete = {search.place for search in recovery.searches if search.is_complete}
        clouds = [leg.source] if leg.source else list(CLOUDS)
        names = [
            next((place.name for place in self._places.get(cloud, ()) if place.name in complete), None)
            for cloud in clouds
        ]
        known = [name for name in names if name is not None]
        return " and ".join(known) if len(known) == len(clouds) else None

    def _end(
        self,
        recovery: Recovery,
        now: datetime,
        *,
        state: RecoveryState,
        finding: Finding,
        found_in: str | None = None,
        detail: str,
    ) -> bool:
        ended = replace(recovery, state=state, finding=finding, found_in=found_in, detail=detail, ended_at=now)
        self._recoveries.save(ended, due_at=now)
        self._clean_at = -math.inf  # what it has created is removed at the end of this run
        return True

    def _all_places(self) -> Iterator[Place]:
        for places in self._places.values():
            yield from places


def places_of(leg: Leg, places: Places) -> list[Place]:
    """The places that may have a leg, in the order in which they are searched."""
    return [place for source, of_source in places.items() if leg.source in {None, source} for place in of_source]


def _read(delivery: Delivery) -> Event | None:
    """The event in a delivery; None if it can't be read, so that it can't be brought back."""
    try:
        return normalise(delivery)
    except Rejected:
        return None
