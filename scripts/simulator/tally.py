"""Counts what was sent and answered, judges whether each answer was right, and sums it all up."""

import math
from collections import Counter
from typing import Final

import msgspec

from helios.model.events import SOURCES, Source

from .anomalies import REPEATED, Anomaly, Injection, Truth
from .answers import OUTCOMES, Answer, Outcome
from .plan import Emission

KEPT_COMPLAINTS: Final = 20
"""How many wrong answers are shown in full; all are counted."""

_STEP = math.log(1.02)


class Latencies:
    """A histogram whose buckets are 2 % wide, so that an endless run needs no more memory than a short one."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one latency."""
        self._buckets[round(math.log(max(seconds, 1e-6)) / _STEP)] += 1

    def quantile(self, share: float) -> float | None:
        """The latency in seconds that this share stayed under, within 2 %; None when there are none."""
        left = math.ceil(share * self._buckets.total())
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return math.exp(bucket * _STEP)
        return None

    def __or__(self, other: "Latencies") -> "Latencies":
        both = Latencies()
        both._buckets = self._buckets + other._buckets
        return both


class SourceSummary(msgspec.Struct, kw_only=True):
    """What became of the events of one cloud, or of all.

    Attributes:
        sent: events handed to the publisher at least once; those that follow add up to it.
        accepted: taken as new.
        duplicate: taken, and recognised as already known.
        contradictory: taken, and recognised as known with other content.
        rejected: refused because of what they say.
        failed: given up.
        retried: attempts beyond the first.
        p50_ms: median time from the moment an event was due until its final answer, waiting and retries included.
        p99_ms: the same, 99th percentile.
    """

    sent: int
    accepted: int
    duplicate: int
    contradictory: int
    rejected: int
    failed: int
    retried: int
    p50_ms: float | None
    p99_ms: float | None


class Summary(msgspec.Struct, kw_only=True):
    """A whole run.

    Attributes:
        ok: everything that should have been accepted was, and nothing else; nothing is without an answer.
        seconds: from the first event to the last answer.
        rate_asked: events per second that were asked for.
        rate: events per second that were answered for good, one way or the other.
        total: all clouds together.
        sources: each cloud by itself.
        orders: how many were placed.
        anomalies: how many of each kind really happened.
        wrong: how many answers were not what they should have been.
        unanswered: events that were under way when the run was ended at once.
        complaints: the first wrong answers, in words.
    """

    ok: bool
    seconds: float
    rate_asked: float
    rate: float
    total: SourceSummary
    sources: dict[Source, SourceSummary]
    orders: int
    anomalies: dict[Anomaly, int]
    wrong: int
    unanswered: int
    complaints: list[str]


class Tally:
    """The books of one run."""

    def __init__(self, truth: Truth, *, judged: bool) -> None:
        """Open the books.

        Args:
            truth: told of each anomaly once all its events are answered.
            judged: True when Helios itself answers; a cloud takes duplicates and poison like anything else.
        """
        self._truth = truth
        self._judged = judged
        self.sent: Counter[Source] = Counter()
        self.retried: Counter[Source] = Counter()
        self.answered: Counter[tuple[Source, Outcome]] = Counter()
        self.wrong = 0
        self.complaints: list[str] = []
        self._latencies: dict[Source, Latencies] = {source: Latencies() for source in SOURCES}
        self._answers: dict[Injection, list[Answer]] = {}

    def send_again(self, emission: Emission, answer: Answer) -> None:
        """Enter that an event will be sent once more; if that may make two of it, the truth must tell."""
        self.retried[emission.source] += 1
        if answer.maybe_taken:
            same_id = self._judged or emission.source != "aws"  # a bus gives each event an id of its own
            self._truth.record(
                Injection(
                    order_id=emission.order_id,
                    anomaly="duplicate",
                    source=emission.source,
                    type=emission.type,
                    details={"same_id": same_id, "certain": False, "reason": answer.reason},
                )
            )

    def settle(self, emission: Emission, answer: Answer, *, latency: float) -> None:
        """Enter the final answer for one event."""
        self.answered[emission.source, answer.outcome] += 1
        self._latencies[emission.source].add(latency)
        self._judge(emission, answer)
        if emission.injection:
            self._conclude(emission, emission.injection, answer)

    def _judge(self, emission: Emission, answer: Answer) -> None:
        to_be_rejected = self._judged and emission.poison is not None
        expected = ("rejected",) if to_be_rejected else ("accepted", "duplicate", "contradictory")
        if answer.outcome not in expected:
            reason = answer.reason or "no reason given"
            self._complain(emission, f"should be {expected[0]}, is {answer.outcome}: {reason}")

    def _conclude(self, emission: Emission, injection: Injection, answer: Answer) -> None:
        """Once all events of an anomaly are answered, judge them together and record the anomaly."""
        answers = self._answers.setdefault(injection, [])
        answers.append(answer)
        event_id = answer.event_id or emission.id
        if event_id not in injection.event_ids:
            injection.event_ids.append(event_id)
        repeated = injection.anomaly in REPEATED
        if len(answers) < (2 if repeated else 1):
            return
        del self._answers[injection]
        outcomes = [answer.outcome for answer in answers]
        if "failed" in outcomes:
            return  # it did not happen as planned, and the run has failed anyway
        # The second may overtake the first, so only the pair can be judged.
        if repeated and self._judged and injection.anomaly not in outcomes:
            self._complain(emission, f"was sent twice and never found {injection.anomaly}: {' and '.join(outcomes)}")
        self._truth.record(injection)

    def _complain(self, emission: Emission, what: str) -> None:
        self.wrong += 1
        if len(self.complaints) < KEPT_COMPLAINTS:
            self.complaints.append(f"{emission.source} {emission.type} {emission.id} {what}")

    def summary(self, *, seconds: float, rate_asked: float, orders: int) -> Summary:
        """The books as they stand."""
        unanswered = self.sent.total() - self.answered.total()
        return Summary(
            ok=self.wrong == 0 and unanswered == 0,
            seconds=round(seconds, 3),
            rate_asked=rate_asked,
            rate=round(self.answered.total() / seconds, 1) if seconds else 0.0,
            total=self._of(*SOURCES),
            sources={source: self._of(source) for source in SOURCES if self.sent[source]},
            orders=orders,
            anomalies=dict(self._truth.counts),
            wrong=self.wrong,
            unanswered=unanswered,
            complaints=self.complaints,
        )

    def _of(self, *sources: Source) -> SourceSummary:
        latencies = Latencies()
        for source in sources:
            latencies |= self._latencies[source]
        outcomes = {outcome: sum(self.answered[source, outcome] for source in sources) for outcome in OUTCOMES}
        return SourceSummary(
            sent=sum(self.sent[source] for source in sources),
            retried=sum(self.retried[source] for source in sources),
            p50_ms=_milliseconds(latencies.quantile(0.50)),
            p99_ms=_milliseconds(latencies.quantile(0.99)),
            **outcomes,
        )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
