"""Counts events and answers, checks each answer, and summarises the run."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from helios.model.balances import MANIFEST_TYPE
from helios.model.sources import Source

from .anomalies import REPEATED, Anomaly, Injection, Truth
from .answers import OUTCOMES, Answer, Outcome
from .plan import Emission
from .shop import PROVIDER_LEGS, SOURCES

MAX_COMPLAINTS: Final = 20
"""How many wrong answers are described; all are counted."""

_STEP = math.log(1.02)


class Latencies:
    """A histogram with buckets 2 % wide, so that memory does not grow with the length of the run."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one latency."""
        self._buckets[round(math.log(max(seconds, 1e-6)) / _STEP)] += 1

    def quantile(self, share: float) -> float | None:
        """The quantile of the latencies in seconds, within 2 %; None when there are none."""
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
    """The counts of one cloud, or of all.

    Attributes:
        sent: events sent at least once: the sum of the five outcomes below, and the unanswered.
        accepted: accepted as new.
        undelivered: how many of these their cloud does not deliver, because the run says so.
        duplicate: accepted and recognised as already known.
        contradictory: accepted and recognised as known with other content.
        rejected: refused because of their content.
        failed: given up after retries, or refused for another reason.
        retried: attempts after the first.
        p50_ms: median time from an event's due time to its final answer, with waiting and retries.
        p99_ms: the same, 99th percentile.
    """

    sent: int
    accepted: int
    undelivered: int
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
        ok: whether every event has an answer and no answer was wrong.
        seconds: from the first event to the last answer.
        rate_asked: the target rate, in events per second.
        rate: final answers per second.
        total: the counts of all clouds together.
        sources: the counts of each cloud.
        orders: how many orders were placed.
        anomalies: how many anomalies of each kind certainly happened.
        wrong: how many answers were wrong.
        unanswered: events without an answer when the run was interrupted.
        complaints: descriptions of the first wrong answers.
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
    """The counts of one run."""

    def __init__(self, truth: Truth, *, answered_by_helios: bool) -> None:
        """Start with zero counts.

        Args:
            truth: records each anomaly once all its events are answered.
            answered_by_helios: True when Helios itself answers every event; a cloud accepts duplicates and poison
                messages. A provider always gets its answers from Helios.
        """
        self._truth = truth
        self._answered_by_helios = answered_by_helios
        self.sent: Counter[Source] = Counter()
        self.retried: Counter[Source] = Counter()
        self.answered: Counter[tuple[Source, Outcome]] = Counter()
        self.undelivered: Counter[Source] = Counter()
        self.on_published: Callable[[Emission], None] = lambda _: None
        """Called with each event that its cloud has accepted."""
        self.wrong = 0
        self.complaints: list[str] = []
        self._latencies: dict[Source, Latencies] = {source: Latencies() for source in SOURCES}
        self._answers: dict[Injection, list[Answer]] = {}

    def record_sent(self, emission: Emission) -> None:
        """Record that an event is sent for the first time. Manifests are no traffic, and not counted."""
        self.sent[emission.source] += emission.type != MANIFEST_TYPE

    def record_retry(self, emission: Emission, answer: Answer) -> None:
        """Record that an event will be sent again, and, if that may make a duplicate of it, a possible anomaly."""
        if emission.type == MANIFEST_TYPE:
            return
        self.retried[emission.source] += 1
        if answer.maybe_accepted:
            same_id = (
                self._is_answered_by_helios(emission) or emission.source != "aws"
            )  # EventBridge assigns a new id to each event
            self._truth.record(
                Injection(
                    order_id=emission.order_id,
                    anomaly="duplicate",
                    source=emission.source,
                    type=emission.type,
                    details={"same_id": same_id, "certain": False, "reason": answer.reason},
                )
            )

    def record_final(self, emission: Emission, answer: Answer, *, latency: float) -> None:
        """Record the final answer for one event."""
        if emission.type == MANIFEST_TYPE:
            self._check(emission, answer)
            return
        self.answered[emission.source, answer.outcome] += 1
        self.undelivered[emission.source] += emission.is_undelivered and answer.outcome == "accepted"
        self._latencies[emission.source].add(latency)
        self._check(emission, answer)
        if answer.outcome != "failed":
            self.on_published(emission)
        if emission.injection:
            self._record_injection(emission, emission.injection, answer)

    def _check(self, emission: Emission, answer: Answer) -> None:
        must_be_rejected = self._is_answered_by_helios(emission) and emission.poison is not None
        expected = ("rejected",) if must_be_rejected else ("accepted", "duplicate", "contradictory")
        if answer.outcome not in expected:
            reason = answer.reason or "no reason given"
            self._complain(emission, f"should be {expected[0]}, is {answer.outcome}: {reason}")

    def _record_injection(self, emission: Emission, injection: Injection, answer: Answer) -> None:
        """Record the anomaly once all its events are answered, and check their answers together."""
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
            return  # the anomaly did not happen as planned, and the run has failed anyway
        # The second event may overtake the first, so only the pair can be checked.
        if repeated and self._is_answered_by_helios(emission) and injection.anomaly not in outcomes:
            self._complain(
                emission, f"was sent twice and not reported as {injection.anomaly}: {' and '.join(outcomes)}"
            )
        self._truth.record(injection)

    def _is_answered_by_helios(self, emission: Emission) -> bool:
        return self._answered_by_helios or emission.source in PROVIDER_LEGS

    def _complain(self, emission: Emission, description: str) -> None:
        self.wrong += 1
        if len(self.complaints) < MAX_COMPLAINTS:
            self.complaints.append(f"{emission.source} {emission.type} {emission.id} {description}")

    def summary(self, *, seconds: float, rate_asked: float, orders: int) -> Summary:
        """The summary of the run so far."""
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
            undelivered=sum(self.undelivered[source] for source in sources),
            retried=sum(self.retried[source] for source in sources),
            p50_ms=_milliseconds(latencies.quantile(0.50)),
            p99_ms=_milliseconds(latencies.quantile(0.99)),
            **outcomes,
        )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
