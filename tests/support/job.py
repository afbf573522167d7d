"""What a job of any engine makes of deliveries: the messages that it writes to the log, in one process."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from helios.flink.steps import identity_key
from helios.messages import (
    Topics,
    count_key,
    encode_count,
    encode_dead_letter,
    encode_event,
    encode_verdict,
    verdict_key,
)
from helios.model.counts import Count
from helios.model.events import Delivery, Event, Key, Outcome
from helios.normalise.replay_marks import is_replay
from helios.reconciliation.fold import Fold
from helios.reconciliation.record import FlowKey, FlowRecord
from helios.services.identity import KnownEvent, classify, known
from helios.services.outcomes import dead_letters_of, tally
from helios.services.reading import read

Write = Callable[[str, str, bytes], None]
"""Takes the topic, the key and the value of a message."""


class Job:
    """Judges deliveries one by one with the pure code that every engine runs.

    Attributes:
        records: the flow instances.
    """

    def __init__(self, fold: Fold, topics: Topics, write: Write) -> None:
        """Take the flows, and what writes messages."""
        self._fold = fold
        self._topics = topics
        self._write = write
        self._known: dict[Key, KnownEvent] = {}
        self._counts: dict[str, Count] = {}
        self.records: dict[FlowKey, FlowRecord] = {}

    def take(self, deliveries: Sequence[Delivery], *, horizon: timedelta | None = None) -> None:
        """Write what follows from deliveries."""
        for delivery in deliveries:
            content = read(delivery).content
            if isinstance(content, Event):
                outcome = self._judge(delivery, content, horizon)
            else:
                reason, field = content.reason, content.field
                outcome = Outcome(status="rejected", reason=reason, field=field, http_status=content.status)
            for count in tally([delivery], [outcome]):
                self._count(count)
            for dead_letter in dead_letters_of([delivery], [outcome]):
                self._write(self._topics.dead_letters, dead_letter.fingerprint, encode_dead_letter(dead_letter))

    def take_rules(self, fold: Fold) -> None:
        """Judge by other rules from now on."""
        self._fold = fold

    def expire(self, now: datetime) -> None:
        """Write what the deadlines before a moment change; no source is silent."""
        for record in list(self.records.values()):
            if record.waiting and self._fold.deadline(record) <= now:
                self._put(self._fold.expire(record, now=now, silent=set()))

    def _judge(self, delivery: Delivery, event: Event, horizon: timedelta | None) -> Outcome:
        outcome = classify(event, self._known.get(event.key), horizon=horizon)
        if outcome.status == "stored":
            self._known[event.key] = known(event)
            self._write(self._topics.events, identity_key(event), encode_event(event))
        if outcome.status != "rejected" and not (outcome.status == "duplicate" and is_replay(delivery)):
            for identity, evidence in self._fold.evidence([event]).items():
                self._put(self._fold.add(self.records.get(identity), identity, evidence))
        return outcome

    def _put(self, record: FlowRecord) -> None:
        self.records[record.identity] = record
        self._write(self._topics.verdicts, verdict_key(record), encode_verdict(record))

    def _count(self, count: Count) -> None:
        key = count_key(count)
        total = self._counts.get(key) or Count(minute=count.minute, source=count.source, type=count.type)
        total.add(count)
        self._counts[key] = total
        self._write(self._topics.counts, key, encode_count(total))
