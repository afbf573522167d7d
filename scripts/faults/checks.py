"""What must hold after every fault; each check says in sentences what does not."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import psycopg

from helios.adapters.postgres.events import EVENT_COLUMNS, event_from_row
from helios.adapters.postgres.flows import FLOW_COLUMNS, flow_from_row
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.evidence import EvidenceExtractor, EvidenceSet, merge
from helios.reconciliation.record import moment_of
from scripts.faults.book import Book
from scripts.faults.orders import LEGS, Orders

SHOWN = 3
"""Examples in a sentence."""

ROWS = "SELECT source, id, type, order_id FROM events WHERE order_id LIKE %s"

COUNTS = "SELECT source, type, stored, duplicate, contradictory, rejected FROM event_counts"

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
WITH told AS (
    SELECT stored.source, stored.id FROM frames, json_to_recordset(frames.keys) AS stored (source text, id text)
)
SELECT (SELECT count(*) FROM told), (SELECT count(*) FROM (SELECT DISTINCT source, id FROM told) AS once),
       (SELECT count(*) FROM told JOIN events USING (source, id)), (SELECT count(*) FROM events)
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
    """The ledger's sums.

    Attributes:
        all: of every delivery.
        webhooks: of those that only the webhooks of this suite take.
        stored: by source.
    """

    all: Counter[str]
    webhooks: Counter[str]
    stored: Counter[str]


def counts(connection: psycopg.Connection) -> Counts:
    """As they stand."""
    found = Counts(Counter(), Counter(), Counter())
    mine = {*LEGS.values(), ""}  # what could not be read has no type, and the clouds get nothing of that kind
    for source, type_, *sums in connection.execute(COUNTS):
        counted = Counter(dict(zip(("stored", "duplicate", "contradictory", "rejected"), sums, strict=True)))
        found.all.update(counted)
        found.stored[source] += counted["stored"]
        if type_ in mine:
            found.webhooks.update(counted)
    return found


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """The state after a phase.

    Attributes:
        lost: events that were acknowledged and are not stored.
        doubled: events that are stored more than once.
        wrong: everything that does not hold, a sentence each.
        counts: the sums now, from which the next phase starts.
        position: the stream's.
        rows: events stored, of all phases.
    """

    lost: int
    doubled: int
    wrong: list[str]
    counts: Counts
    position: int
    rows: int


def check(connection: psycopg.Connection, sent: Orders, book: Book, before: Counts, flows: Sequence[Flow]) -> Checked:
    """Hold everything against everything, of one moment."""
    now = counts(connection)
    rows = connection.execute(ROWS, (f"{sent.prefix}%",)).fetchall()
    stored = {(source, id_) for source, id_, _, _ in rows}
    lost = sorted(book.acknowledged - stored)
    doubled = _doubled(rows, book)
    wrong = [*book.wrong]
    if lost:
        wrong.append(f"{len(lost)} acknowledged events are not stored, such as {lost[:SHOWN]}")
    if doubled:
        wrong.append(f"{doubled} events are stored more than once")
    wrong += _books(connection, sent, book, before, now)
    position, outbox_wrong = _outbox(connection)
    wrong += outbox_wrong
    wrong += _instances(connection, sent, flows)
    return Checked(
        lost=len(lost),
        doubled=doubled,
        wrong=wrong,
        counts=now,
        position=position,
        rows=now.stored.total(),
    )


def _doubled(rows: Sequence[tuple[Any, ...]], book: Book) -> int:
    """Facts with more than one row; EventBridge may have made two events of one whose answer was lost."""
    legs = Counter((type_, order) for _, _, type_, order in rows)
    return max(0, legs.total() - len(legs) - book.doubled)


def _books(connection: psycopg.Connection, sent: Orders, book: Book, before: Counts, now: Counts) -> Iterator[str]:
    """The ledger: received = stored + duplicate + contradictory + rejected, and each of them where it is kept."""
    told, taken = book.told.total(), now.webhooks.total() - before.webhooks.total()
    if not told <= taken <= told + book.unanswered:
        yield f"{told} deliveries were answered, {book.unanswered} were not, and the ledger has {taken}"
    if not book.unanswered and now.webhooks - before.webhooks != +book.told:
        yield f"deliveries were called {dict(book.told)}, and the ledger has {dict(now.webhooks - before.webhooks)}"
    clouds = now.all.total() - before.all.total() - taken
    if clouds < book.taken:
        yield f"the clouds took {book.taken} deliveries, and the ledger has {clouds}"
    by_source: dict[str, int] = dict(
        connection.execute("SELECT source, count(*) FROM events GROUP BY source").fetchall()
    )
    if by_source != dict(+now.stored):
        yield f"there are {by_source} rows, and {dict(now.stored)} are counted"
    if connection.execute(TOTALS).fetchall() != connection.execute(MINUTES).fetchall():
        yield "the totals are not the sums of the minutes"
    attempts, marks = connection.execute(DEAD_LETTERS).fetchone() or (0, [])
    if attempts != now.all["rejected"] + now.all["contradictory"]:
        yield f"{now.all['rejected']} were rejected, and the dead letters have {attempts} attempts"
    if missing := sent.poison - set(marks):
        yield f"{len(missing)} rejected deliveries are no dead letter, such as {sorted(missing)[:SHOWN]}"


def _outbox(connection: psycopg.Connection) -> tuple[int, list[str]]:
    """The stream: its positions leave none out, and it tells of each event once."""
    wrong = []
    frames, numbered, first, last, position = connection.execute(POSITIONS).fetchone() or (0, 0, 0, 0, 0)
    if frames and not (frames == numbered == last - first + 1 and (first, last) == (1, position)):
        wrong.append(
            f"{frames} frames, {numbered} with positions from {first} to {last}, and the stream is at {position}"
        )
    told, once, known, rows = connection.execute(OUTBOX).fetchone() or (0, 0, 0, 0)
    if not told == once == known == rows:
        wrong.append(f"{rows} events, and the stream tells of {told}: {once} different ones, {known} of them stored")
    return position, wrong


def _instances(connection: psycopg.Connection, sent: Orders, flows: Sequence[Flow]) -> Iterator[str]:
    """The verdicts: those that the sent orders must get, and those that follow from the stored events."""
    pattern = (f"{sent.prefix}%",)
    kept = {instance.key: instance for instance in map(flow_from_row, connection.execute(INSTANCES, pattern))}
    off = [
        f"{order} is {kept[order].status if order in kept else 'unknown'} instead of {status}"
        for order, status in sent.statuses.items()
        if order not in kept or kept[order].status != status
    ]
    if off:
        yield f"{len(off)} orders have the wrong verdict: {'; '.join(off[:SHOWN])}"
    extractor, evaluators = EvidenceExtractor(flows), {flow.name: FlowEvaluator(flow) for flow in flows}
    pending: dict[str, list[EvidenceSet]] = defaultdict(list)
    for row in connection.execute(
        f"SELECT {EVENT_COLUMNS} FROM events WHERE order_id LIKE %s",  # noqa: S608 - a constant of Helios'
        pattern,
    ):
        for keyed in extractor.extract(event_from_row(row)):
            pending[keyed.key].append(EvidenceSet(items=[keyed.evidence]))
    differing = []
    for key, instance in kept.items():
        evaluator, counts = evaluators[instance.flow], pending.get(key)
        verdict = evaluator.verdict(merge(counts), now=moment_of(instance)) if counts else None
        if verdict is None or (verdict.status, verdict.amount) != (instance.status, instance.amount):
            differing.append(key)
    if differing or pending.keys() != kept.keys():
        yield f"{len(differing)} stories are not what follows from their events, such as {differing[:SHOWN]}"
