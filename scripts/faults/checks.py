"""The checks that run after every fault. Each check yields a sentence for each violation."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import psycopg

from helios.adapters.postgres.events import EVENT_COLUMNS, event_from_row
from helios.adapters.postgres.flows import FLOW_COLUMNS, flow_from_row
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.evidence import EvidenceExtractor, EvidenceSet
from helios.reconciliation.record import moment_of
from scripts.faults.orders import LEGS, Orders
from scripts.faults.response_log import ResponseLog

SHOWN = 3
"""How many examples a sentence lists."""

ROWS = "SELECT source, id, type, order_id FROM events WHERE order_id LIKE %s"

# With the frames that have no position yet, whose counts are not added up.
COUNTS = """
SELECT source, type, sum(stored)::bigint, sum(duplicate)::bigint, sum(contradictory)::bigint, sum(rejected)::bigint
FROM (TABLE event_counts UNION ALL TABLE waiting_counts) AS counts GROUP BY source, type
"""

COUNTED_TWICE = """
SELECT since::text, source, sum(stored)::bigint, sum(duplicate)::bigint, sum(contradictory)::bigint,
       sum(rejected)::bigint
FROM {} GROUP BY since, source ORDER BY 1, 2
"""
TOTALS = COUNTED_TWICE.format("event_totals")
MINUTES = COUNTED_TWICE.format(
    "event_counts, LATERAL (VALUES ('-infinity'::timestamptz), (date_trunc('hour', minute, 'UTC'))) AS bucket (since)"
)

OUTBOX = """
WITH published AS (
    SELECT source, producer, stored.id
    FROM frames, json_to_recordset(frames.keys) AS batch (source text, producer text, ids json),
    json_array_elements_text(ids) AS stored (id)
)
SELECT (SELECT count(*) FROM published),
       (SELECT count(*) FROM (SELECT DISTINCT source, producer, id FROM published) AS once),
       (SELECT count(*) FROM published JOIN events USING (source, producer, id)), (SELECT count(*) FROM events)
"""

POSITIONS = """
SELECT count(*), count(position), min(position), max(position), (SELECT position FROM stream) FROM frames
"""

DEAD_LETTERS = """
SELECT (SELECT coalesce(sum(attempts), 0)::bigint FROM dead_letters),
       ARRAY(SELECT DISTINCT (regexp_match(encode(body, 'escape'), 'FLT-[0-9]+-POISON-[0-9]+'))[1] FROM dead_letters)
"""

INSTANCES = f"SELECT {FLOW_COLUMNS} FROM flow_instances WHERE key LIKE %s"  # noqa: S608 - a constant of Helios'


class Counts(msgspec.Struct, frozen=True):
    """Sums of the table ``event_counts``.

    Attributes:
        all: every delivery, by outcome.
        webhooks: the deliveries that this suite sends to the webhooks only, by outcome.
        stored: stored events, by source.
    """

    all: Counter[str]
    webhooks: Counter[str]
    stored: Counter[str]


def counts(connection: psycopg.Connection) -> Counts:
    """The sums now."""
    result = Counts(Counter(), Counter(), Counter())
    webhook_types = {*LEGS.values(), ""}  # a delivery that Helios can't read has no type; the clouds get none of these
    for source, type_, *sums in connection.execute(COUNTS):
        counted = Counter(dict(zip(("stored", "duplicate", "contradictory", "rejected"), sums, strict=True)))
        result.all.update(counted)
        result.stored[source] += counted["stored"]
        if type_ in webhook_types:
            result.webhooks.update(counted)
    return result


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """The state after a phase.

    Attributes:
        lost: how many acknowledged events are not stored.
        doubled: how many events are stored more than once.
        violations: a sentence for each promise that does not hold.
        counts: the sums now, from which the next phase starts.
        position: the position of the stream.
        rows: how many events of all phases are stored.
    """

    lost: int
    doubled: int
    violations: list[str]
    counts: Counts
    position: int
    rows: int


def check(
    connection: psycopg.Connection, sent: Orders, responses: ResponseLog, before: Counts, flows: Sequence[Flow]
) -> Checked:
    """Compare what was sent with what is stored, in one snapshot of the database."""
    now = counts(connection)
    rows = connection.execute(ROWS, (f"{sent.prefix}%",)).fetchall()
    stored = {(source, id_) for source, id_, _, _ in rows}
    lost = sorted(responses.acknowledged - stored)
    doubled = _doubled(rows, responses)
    violations = [*responses.violations]
    if lost:
        violations.append(f"{len(lost)} acknowledged events are not stored, such as {lost[:SHOWN]}")
    if doubled:
        violations.append(f"{doubled} events are stored more than once")
    violations += _check_counts(connection, sent, responses, before, now)
    position, outbox_violations = _check_outbox(connection)
    violations += outbox_violations
    violations += _check_instances(connection, sent, flows)
    return Checked(
        lost=len(lost),
        doubled=doubled,
        violations=violations,
        counts=now,
        position=position,
        rows=now.stored.total(),
    )


def _doubled(rows: Sequence[tuple[Any, ...]], responses: ResponseLog) -> int:
    """How many events have more than one row.

    EventBridge may have made two events of one whose response was lost; those are not counted.
    """
    legs = Counter((type_, order) for _, _, type_, order in rows)
    return max(0, legs.total() - len(legs) - responses.possible_duplicates)


def _check_counts(
    connection: psycopg.Connection, sent: Orders, responses: ResponseLog, before: Counts, now: Counts
) -> Iterator[str]:
    """Check that received = stored + duplicate + contradictory + rejected, and that each sum matches its table."""
    answered, counted = responses.statuses.total(), now.webhooks.total() - before.webhooks.total()
    if not answered <= counted <= answered + responses.unanswered:
        yield f"{answered} deliveries were answered and {responses.unanswered} were not, but {counted} are counted"
    if not responses.unanswered and now.webhooks - before.webhooks != +responses.statuses:
        difference = dict(now.webhooks - before.webhooks)
        yield f"the responses were {dict(responses.statuses)}, but {difference} are counted"
    clouds = now.all.total() - before.all.total() - counted
    if clouds < responses.accepted:
        yield f"the clouds accepted {responses.accepted} deliveries, but {clouds} are counted"
    by_source: dict[str, int] = dict(
        connection.execute("SELECT source, count(*) FROM events GROUP BY source").fetchall()
    )
    if by_source != dict(+now.stored):
        yield f"there are {by_source} rows, but {dict(now.stored)} are counted"
    if connection.execute(TOTALS).fetchall() != connection.execute(MINUTES).fetchall():
        yield "the totals are not the sums of the minutes"
    attempts, marks = connection.execute(DEAD_LETTERS).fetchone() or (0, [])
    if attempts != now.all["rejected"] + now.all["contradictory"]:
        yield f"{now.all['rejected']} deliveries were rejected, but the dead letters have {attempts} attempts"
    if missing := sent.poison - set(marks):
        yield f"{len(missing)} rejected deliveries have no dead letter, such as {sorted(missing)[:SHOWN]}"


def _check_outbox(connection: psycopg.Connection) -> tuple[int, list[str]]:
    """Check that the positions of the stream have no gap, and that it contains each event once."""
    violations = []
    frames, numbered, first, last, position = connection.execute(POSITIONS).fetchone() or (0, 0, 0, 0, 0)
    if frames and not (frames == numbered == last - first + 1 and (first, last) == (1, position)):
        violations.append(
            f"{frames} frames, {numbered} with positions from {first} to {last}, but the stream is at {position}"
        )
    published, distinct, known, rows = connection.execute(OUTBOX).fetchone() or (0, 0, 0, 0)
    if not published == distinct == known == rows:
        violations.append(
            f"{rows} events are stored, but the stream contains {published}: {distinct} distinct, {known} stored"
        )
    return position, violations


def _check_instances(connection: psycopg.Connection, sent: Orders, flows: Sequence[Flow]) -> Iterator[str]:
    """Check the verdicts: those that the sent orders must get, and those that follow from the stored events."""
    pattern = (f"{sent.prefix}%",)
    instances = {instance.key: instance for instance in map(flow_from_row, connection.execute(INSTANCES, pattern))}
    wrong = [
        f"{order} is {instances[order].status if order in instances else 'unknown'} instead of {status}"
        for order, status in sent.statuses.items()
        if order not in instances or instances[order].status != status
    ]
    if wrong:
        yield f"{len(wrong)} orders have the wrong verdict: {'; '.join(wrong[:SHOWN])}"
    extractor, evaluators = EvidenceExtractor(flows), {flow.name: FlowEvaluator(flow) for flow in flows}
    pending: dict[str, list[EvidenceSet]] = defaultdict(list)
    for row in connection.execute(
        f"SELECT {EVENT_COLUMNS} FROM events WHERE order_id LIKE %s",  # noqa: S608 - a constant of Helios'
        pattern,
    ):
        for keyed in extractor.extract(event_from_row(row)):
            pending[keyed.key].append(EvidenceSet(items=[keyed.evidence]))
    differing = []
    for key, instance in instances.items():
        evaluator, counts = evaluators[instance.flow], pending.get(key)
        verdict = evaluator.verdict(evaluator.merge(counts), now=moment_of(instance)) if counts else None
        if verdict is None or (verdict.status, verdict.amount) != (instance.status, instance.amount):
            differing.append(key)
    if differing or pending.keys() != instances.keys():
        yield f"{len(differing)} flow instances do not follow from their events, such as {differing[:SHOWN]}"
