"""Writes one batch in one unit of work: which statement runs in the database while which Python runs here."""

from collections.abc import Mapping, Sequence

import msgspec

from helios.errors import MAX_QUOTE_CHARS, UNREADABLE, Rejected
from helios.model.events import Delivery, Event, Key, Outcome
from helios.model.stream import Frame
from helios.normalise.replay_marks import is_replay
from helios.ports.pending import Pending
from helios.ports.unit_of_work import UnitOfWork
from helios.reconciliation.evidence import exact
from helios.services.outcomes import dead_letters_of, summaries, tally
from helios.services.reconciler import Evaluation, FlowChanges, PendingFlows, Reconciler, halves

MAX_NAMES = 10
"""Maximum names of differing fields in the reason of a contradiction."""


class Reading(msgspec.Struct, frozen=True, gc=False):
    """A delivery, and what ``normalise`` read in it."""

    delivery: Delivery
    content: Event | Rejected


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
        record_outcomes                            UPSERT counts, INSERT dead letters, INSERT frame

    A batch of fewer than 100 events is one half: another statement would cost it more than the overlap saves.

    Attributes:
        readings: the batch, in order of arrival.
        events: the readable ones.
        first_by_key: the first event of each identity; of two that contradict each other, the first is stored.
        known_digests: digests of events that were stored before this batch, by identity.
        inserts: the keys that each INSERT has stored.
        pending: the evidence of this batch, and the instances that it belongs to.
        evaluation: the instances after their evaluation.
        stored_keys: identities that this batch has stored.
        outcomes: what became of each delivery, in the order of the readings.
    """

    first_by_key: dict[Key, Event]
    known_digests: dict[Key, str]
    inserts: list[Pending[set[Key]]]
    pending: PendingFlows
    evaluation: Evaluation
    stored_keys: set[Key]
    outcomes: list[Outcome]

    def __init__(
        self, readings: Sequence[Reading], hinted_keys: set[Key], work: UnitOfWork, reconciler: Reconciler
    ) -> None:
        """Take a batch.

        Args:
            readings: in order of arrival.
            hinted_keys: identities that the dedupe cache holds: Postgres confirms each of them.
            work: the unit of work that stores the batch.
            reconciler: updates the flow instances.
        """
        self.readings = readings
        self.events = [reading.content for reading in readings if isinstance(reading.content, Event)]
        self._hinted_keys = hinted_keys
        self._work = work
        self._reconciler = reconciler

    def run(self) -> list[Outcome]:
        """Write the batch, and return what became of each delivery."""
        self._find_known_events()
        self._begin_inserts()
        self._evaluate_flows()
        self._classify()
        # Before anything is counted: from there on, writers of the same source wait for each other.
        changes = self._finalize_flows()
        self._record_outcomes(changes)
        return self.outcomes

    def _find_known_events(self) -> None:
        """Find the first event of each identity, and which of the hinted ones are stored."""
        self.first_by_key = {}
        for event in self.events:
            self.first_by_key.setdefault(event.key, event)
        # After a restore of the database, the cache can hold keys that the database lacks: Postgres confirms each.
        self.known_digests = self._work.events.digests(sorted(self._hinted_keys & self.first_by_key.keys()))

    def _begin_inserts(self) -> None:
        """Begin to store the new events, and collect the evidence of all events meanwhile."""
        evidence_events = self._evidence_events()
        # Sorted, because concurrent writers of the same keys in different order deadlock.
        new_keys = sorted(self.first_by_key.keys() - self.known_digests.keys())
        new_events = [self.first_by_key[key] for key in new_keys]
        first, second = halves(new_events) if self._reconciler.evaluators else ([], new_events)
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
                original is not None and _compared(event, original).status == "duplicate"
            )

        return [event for event, replayed in replays if not (replayed and is_duplicate(event))]

    def _evaluate_flows(self) -> None:
        """Evaluate the instances, and begin to write them."""
        self.evaluation = self._reconciler.evaluate(self.pending, self._work)

    def _classify(self) -> None:
        """Decide which events are new, and which of the others are duplicates or contradictions."""
        self.stored_keys = {key for insert in self.inserts for key in insert.result()}
        digests = self.known_digests | {key: self.first_by_key[key].digest for key in self.stored_keys}
        digests |= self._work.events.digests(sorted(self.first_by_key.keys() - digests.keys()))
        keyed = [(event.key, event) for event in self.events]
        differing_keys = sorted({key for key, event in keyed if event.digest != digests[key]})
        originals = self._work.events.get(differing_keys)
        by_event = iter([self._outcome_of(key, event, digests, originals) for key, event in keyed])
        self.outcomes = [
            next(by_event) if isinstance(reading.content, Event) else _rejected(reading.content)
            for reading in self.readings
        ]

    def _outcome_of(
        self, key: Key, event: Event, digests: Mapping[Key, str], originals: Mapping[Key, Event]
    ) -> Outcome:
        if key in self.stored_keys and self.first_by_key[key] is event:
            return Outcome(status="stored", event=event)
        if event.digest == digests[key]:
            return Outcome(status="duplicate", event=event)
        return _compared(event, originals[key])

    def _finalize_flows(self) -> FlowChanges:
        return self._reconciler.finalize(self.pending, self.evaluation, self._work)

    def _record_outcomes(self, changes: FlowChanges) -> None:
        """Add to the counts, store the dead letters, and publish the frame."""
        deliveries = [reading.delivery for reading in self.readings]
        counts = tally(deliveries, self.outcomes)
        self._work.counts.add(counts)
        if dead_letters := dead_letters_of(deliveries, self.outcomes):
            self._work.dead_letters.add(dead_letters)
        stored = [outcome.event for outcome in self.outcomes if outcome.event and outcome.status == "stored"]
        frame = Frame(counts=counts, events=summaries(stored), flows=changes.flows, flow_statuses=changes.statuses)
        self._work.stream.publish(frame, [event.key for event in stored])


def _rejected(fault: Rejected) -> Outcome:
    return Outcome(status="rejected", reason=fault.reason, field=fault.field, http_status=fault.status)


def _compared(event: Event, original: Event) -> Outcome:
    """A duplicate if only the spelling differs (10.0 and 10.00, the order of keys), otherwise a contradiction."""
    before, after = _content(original), _content(event)
    differing = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    if not differing:
        return Outcome(status="duplicate", event=event)
    # The names are keys of the payload: a sender may write thousands, and long ones.
    names = [name if len(name) <= MAX_QUOTE_CHARS else f"{name[:MAX_QUOTE_CHARS]}…" for name in differing]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return Outcome(
        status="contradictory",
        event=event,
        reason=f"differs from the stored event of the same source and id in {', '.join(names[:MAX_NAMES])}{more}",
        field=names[0],
    )


def _content(event: Event) -> dict[str, object]:
    try:
        data = exact.decode(event.data)
    except UNREADABLE:  # for example an integer of thousands of digits: only the spelling can be compared
        data = bytes(event.data)
    fields = {f"data.{name}": value for name, value in data.items()} if isinstance(data, dict) else {"data": data}
    # An event without a time has the time of its arrival, which is not part of its content.
    sent_time = event.time if event.time != event.received_at else None
    return {"type": event.type, "subject": event.subject, "time": sent_time} | fields
