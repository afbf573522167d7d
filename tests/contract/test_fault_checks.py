"""The fault suite can fail: the checks name every row that is removed from a correct database or added to it."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.stream import PostgresOutbox
from helios.model.events import Channel
from helios.normalise import split
from helios.reconciliation import declaration
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from scripts.faults.book import Book
from scripts.faults.checks import Counts, check
from scripts.faults.orders import BATCH_PATH, Load, orders
from scripts.faults.stage import Place
from scripts.simulator.envelopes import PATHS

CHANNELS: dict[str, Channel] = {
    BATCH_PATH: "cloudevents",
    PATHS["aws"]: "eventbridge",
    PATHS["gcp"]: "pubsub",
    PATHS["azure"]: "eventgrid",
}
NOTHING = Counts(Counter(), Counter(), Counter())
LOAD = Load(events=90, again=0.2, poison=0.1, flawed=0.4)


@pytest.fixture
def checked_phase(postgres_store, pool, tmp_path):
    """A phase without a fault. Returns a function that runs the checks on its database."""
    flows = declaration.load(Place.of(tmp_path).config.flows_file)
    sent, book = orders(LOAD, prefix="FLT-01-", seed=1, clouds=()), Book()
    for request in sent.requests:
        deliveries = split(CHANNELS[request.path], request.body, request.headers, datetime.now(UTC))
        outcomes = ingest(deliveries, dedupe=NullDedupeCache(), store=postgres_store, reconciler=Reconciler(flows))
        book.answer(request.keys, [outcome.status for outcome in outcomes])
    PostgresOutbox(pool).number()

    def run_checks():
        with pool.connection() as connection:
            return check(connection, sent, book, NOTHING, flows)

    return run_checks


def test_a_correct_database_passes_the_checks(checked_phase):
    result = checked_phase()

    assert (result.wrong, result.lost, result.doubled) == ([], 0, 0)
    assert result.rows == result.counts.stored.total() > 60
    assert result.counts.webhooks["rejected"] >= 9


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("DELETE FROM events WHERE id = (SELECT min(id) FROM events)", "1 acknowledged events are not stored"),
        (
            """CREATE TEMP TABLE copied AS SELECT * FROM events LIMIT 1; UPDATE copied SET id = 'another';
            INSERT INTO events SELECT * FROM copied""",
            "1 events are stored more than once",
        ),
        ("UPDATE event_counts SET duplicate = duplicate + 1 WHERE source = 'aws'", "and the ledger has"),
        ("UPDATE event_totals SET stored = stored + 1 WHERE source = 'gcp'", "the totals are not the sums"),
        ("UPDATE event_counts SET stored = stored - 1 WHERE source = 'azure'", "rows, and"),
        ("UPDATE dead_letters SET attempts = attempts + 1", "the dead letters have"),
        ("DELETE FROM dead_letters WHERE id = (SELECT min(id) FROM dead_letters)", "are no dead letter"),
        ("UPDATE frames SET position = NULL WHERE position = 2", "frames,"),
        ("DELETE FROM frames WHERE position = 2", "frames,"),
        ("UPDATE frames SET keys = '[]' WHERE position = 1", "and the stream tells of"),
        ("UPDATE flow_instances SET status = 'incomplete' WHERE status = 'matched'", "orders have the wrong verdict"),
        (
            """UPDATE flow_instances SET details = jsonb_set(details::jsonb, '{0}', '1')
            WHERE key = (SELECT min(key) FROM flow_instances)""",
            "what follows from their events",
        ),
        (
            "DELETE FROM flow_instances WHERE key = (SELECT min(key) FROM flow_instances)",
            "what follows from their events",
        ),
    ],
)
def test_every_violated_invariant_is_named(damage, sentence, checked_phase, pool):
    with pool.connection() as connection:
        connection.execute(damage)

    assert any(sentence in finding for finding in checked_phase().wrong)


@pytest.mark.parametrize(
    ("key", "status", "sentence"),
    [
        (("aws", "id"), "rejected", "was called rejected"),
        (("aws", "id"), "contradictory", "was called contradictory"),
        (None, "stored", "poison was called stored"),
    ],
)
def test_a_wrong_answer_is_named(key, status, sentence):
    book = Book()
    book.answer([key], [status])

    assert sentence in book.wrong[0]
    assert not book.acknowledged
