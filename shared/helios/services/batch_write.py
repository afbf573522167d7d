"""Writes one batch in one unit of work: which statement runs in the database while which Python runs here."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from helios.model.dead_letters import BEYOND_HORIZON
from helios.model.events import ERASED, Event, Fault, Key, Outcome
from helios.model.stream import Frame
from helios.normalise.manifests import manifests_of
from helios.normalise.replay_marks import is_replay
from helios.ports.pending import Pending
from helios.ports.unit_of_work import UnitOfWork
from helios.reconciliation.fold import FlowChanges
from helios.services.identity import compare, is_beyond_horizon
from helios.services.outcomes import cause_counts, dead_letters_of, repeats_of, summaries, tally
from helios.services.reading import Reading
from helios.services.reconciler import Evaluation, PendingFlows, Reconciler, halves


class ErasedEvents(Exception):  # noqa: N818 - no error: the batch is written again without them
    """A batch has deliveries of events that were erased. It has written evidence of them, which must not be stored.

    Attributes:
        keys: the identities.
    """

    def __init__(self, keys: set[Key]) -> None:
        """Take the identities."""
        super().__init__(f"{len(keys)} erased events")
        self.keys = keys


class BatchWrite:
    """One batch on its way into the store.

    The database works on one statement while Python prepares the next one. Time runs downwards::

        Python                                     Postgres
        find_known_events                          SELECT digests of replayed and of hinted keys
        begin_inserts
          sorts the new events                     INSERT first half of the events
          extracts evidence, half by half          SELECT flow instances, half by half
                                                   INSERT second half of the events
        evaluate_flows
          evaluates the first half of instances    (the second INSERT is still running)
          evaluates the second half                UPSERT first half of the instances
        classify                                   UPSERT second half of the instances
          compares what was not new                SELECT digests and events of what was not new
        finalize_flows                             SELECT and UPSERT instances that another writer has changed
        record_outcomes                            INSERT dead letters, manifests, frame with the counts

    A batch of fewer than 100 events is one half: another statement would cost it more than the overlap saves.

    Attributes:
        readings: the batch, in order of arrival.
        events: the readable ones.
        first_by_key: the first event of each identity; of two that contradict each other, the first is stored.
        known_digests: digests of events that were stored before this batch, by identity.
        inserts: the keys that each INSERT has stored.
        pending: the evidence of this batch, and the instances that it belongs to.
        evaluation: the instances after their evaluation.
        beyond_horizon: identities that are not stored, and may have been stored and removed.
        stored_keys: identities that this batch has stored.
        outcomes: what became of each delivery, in the order of the readings.
    """

    first_by_key: dict[Key, Event]
    known_digests: dict[Key, str]
    beyond_horizon: set[Key]
    inserts: list[Pending[set[Key]]]
    pending: PendingFlows
    evaluation: Evaluation
    stored_keys: set[Key]
    outcomes: list[Outcome]

    def __init__(
        self,
        readings: Sequence[Reading],
        hinted_keys: Collection[tuple[str, ...]],
        work: UnitOfWork,
        reconciler: Reconciler,
        horizon: timedelta | None = None,
        *,
        may_conflict: bool = False,
    ) -> None:
        """Take a batch.

        Args:
            readings: in order of arrival.
            hinted_keys: identities that the dedupe cache holds: Postgres confirms each of those of events.
            work: the unit of work that stores the batch.
            reconciler: updates the flow instances.
            horizon: how long identities are stored; None: forever.
            may_conflict: whether the unit of work may raise ConflictError, which saves a small batch a round trip.
        """
        self.readings = readings
        self.events = [
            reading.content for reading in readings if isinstance(reading.content, Event) and not reading.is_erased
        ]
        self._hinted_keys = hinted_keys
        self._work = work
        self._reconciler = reconciler
        self._horizon = horizon
        self._may_conflict = may_conflict

    def run(self) -> list[Outcome]:
        """Write the batch, and return what became of each delivery.

        Raises:
            ErasedEvents: some of the events were erased, and the readings do not say so.
        """
        self._find_known_events()
        self._begin_inserts()
        self._evaluate_flows()
        self._classify()
        changes = self._finalize_flows()
        self._record_outcomes(changes)
        return self.outcomes

    def _find_known_events(self) -> None:
        """Find the first event of each identity, and which of the hinted ones are stored."""
        self.first_by_key = {}
        for event in self.events:
            self.first_by_key.setdefault(event.key, event)
        # After a restore of the database, the cache can hold keys that the database lacks: Postgres confirms each.
        old_keys = {key for key, event in self.first_by_key.items() if is_beyond_horizon(event, self._horizon)}
        asked = {key for key in self.first_by_key if key in self._hinted_keys} | old_keys
        self.known_digests = self._work.events.digests(sorted(asked))
        self.beyond_horizon = old_keys - self.known_digests.keys()

    def _begin_inserts(self) -> None:
        """Begin to store the new events, and collect the evidence of all events meanwhile."""
        evidence_events = self._evidence_events()
        # Sorted, because concurrent writers of the same keys in different order deadlock.
        new_keys = sorted(self.first_by_key.keys() - self.known_digests.keys() - self.beyond_horizon)
        new_events = [self.first_by_key[key] for key in new_keys]
        first, second = halves(new_events) if self._reconciler.evaluators else ([], new_events)
        if not first:  # of a small batch everything is sent before the first wait
            first, second = second, first
        self.inserts = [self._work.events.insert(first)]
        self.pending = self._reconciler.collect(evidence_events, self._work)
        self.inserts.append(self._work.events.insert(second))

    def _evidence_events(self) -> list[Event]:
        """The events that are evidence. A replay of a stored event is none if it is a duplicate of that event.

        A replay with other content is evidence as any delivery is: anybody who may send may mark what they send.
        """
        replays = [
            (reading.content, is_replay(reading.delivery))
            for reading in self.readings
            if isinstance(reading.content, Event)
            and not reading.is_erased
            and reading.content.key not in self.beyond_horizon
        ]
        stored = self._work.events.digests(sorted({event.key for event, replayed in replays if replayed}))
        originals = self._work.events.get(
            sorted(
                {
                    event.key
                    for event, replayed in replays
                    if replayed and event.key in stored and event.digest != stored[event.key]
                }
            )
        )

        def is_duplicate(event: Event) -> bool:
            original = originals.get(event.key)
            return event.digest == stored.get(event.key) or (
                original is not None and compare(event, original).status == "duplicate"
            )

        return [event for event, replayed in replays if not (replayed and is_duplicate(event))]

    def _evaluate_flows(self) -> None:
        """Evaluate the instances, and begin to write them."""
        self.evaluation = self._reconciler.evaluate(self.pending, self._work, may_conflict=self._may_conflict)

    def _classify(self) -> None:
        """Decide which events are new, and which of the others are duplicates or contradictions."""
        self.stored_keys = {key for insert in self.inserts for key in insert.result()}
        digests = self.known_digests | {key: self.first_by_key[key].digest for key in self.stored_keys}
        digests |= self._work.events.digests(sorted(self.first_by_key.keys() - digests.keys() - self.beyond_horizon))
        if erased := {key for key, digest in digests.items() if digest == ERASED}:
            raise ErasedEvents(erased)
        keyed = [(event.key, event) for event in self.events]
        differing_keys = sorted({key for key, event in keyed if event.digest != digests.get(key, event.digest)})
        originals = {key: self.first_by_key[key] for key in differing_keys if key in self.stored_keys}
        originals |= self._work.events.get([key for key in differing_keys if key not in originals])
        by_event = iter([self._outcome_of(key, event, digests, originals) for key, event in keyed])
        self.outcomes = [
            _rejected(reading.content)
            if isinstance(reading.content, Fault)
            else Outcome(status="duplicate", event=reading.content)
            if reading.is_erased
            else next(by_event)
            for reading in self.readings
        ]

    def _outcome_of(
        self, key: Key, event: Event, digests: Mapping[Key, str], originals: Mapping[Key, Event]
    ) -> Outcome:
        if key in self.beyond_horizon:
            return Outcome(status="rejected", event=event, reason=BEYOND_HORIZON, field="time")
        if key in self.stored_keys and self.first_by_key[key] is event:
            return Outcome(status="stored", event=event)
        if event.digest == digests[key]:
            return Outcome(status="duplicate", event=event)
        if original := originals.get(key):
            return compare(event, original)
        reason = "differs from the event of the same producer and id, whose payload is no longer stored"
        return Outcome(status="contradictory", event=event, reason=reason, field="id")

    def _finalize_flows(self) -> FlowChanges:
        return self._reconciler.finalize(self.pending, self.evaluation, self._work)

    def _record_outcomes(self, changes: FlowChanges) -> None:
        """Store the dead letters and what manifests declare, and publish the frame, which carries the counts."""
        deliveries = [reading.delivery for reading in self.readings]
        counts = tally(deliveries, self.outcomes)
        flow_counts = changes.counts
        if dead_letters := dead_letters_of(deliveries, self.outcomes):
            self._work.dead_letters.add(dead_letters)
            flow_counts = [*flow_counts, *cause_counts(dead_letters)]
        stored = [outcome.event for outcome in self.outcomes if outcome.event and outcome.status == "stored"]
        self._work.balances.declare(manifests_of(stored))
        self._work.balances.repeat(repeats_of(self.outcomes))
        frame = Frame(counts=counts, events=summaries(stored), flows=changes.flows, flow_statuses=changes.statuses)
        self._work.stream.publish(frame, stored, flow_counts, generation=self._reconciler.generation)


def _rejected(fault: Fault) -> Outcome:
    return Outcome(status="rejected", reason=fault.reason, field=fault.field, http_status=fault.status)
