"""The fault suite reports every change to a correct database as a violation."""

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
from scripts.faults.checks import Counts, check
from scripts.faults.orders import BATCH_PATH, Load, orders
from scripts.faults.response_log import ResponseLog
from scripts.faults.testbed import SavedConfig
from scripts.simulator.envelopes import PATHS

CHANNELS: dict[str, Channel] = {
    BATCH_PATH: "cloudevents",
    PATHS["aws"]: "eventbridge",
    PATHS["gcp"]: "pubsub",
    PATHS["azure"]: "eventgrid",
}
NOTHING = Counts(Counter(), Counter(), Counter())
LOAD = Load(events=90, redelivered=0.2, poison=0.1, faulty=0.4)


@pytest.fixture
def run_checks(postgres_store, pool, tmp_path):
    """Stores a phase without a fault, and returns a function that runs the checks on it."""
    flows = declaration.load(SavedConfig.load(tmp_path).config.flows_file)
    sent, responses = orders(LOAD, prefix="FLT-01-", seed=1, clouds=()), ResponseLog()
    for request in sent.requests:
        deliveries = split(CHANNELS[request.path], request.body, request.headers, datetime.now(UTC))
        outcomes = ingest(deliveries, dedupe=NullDedupeCache(), store=postgres_store, reconciler=Reconciler(flows))
        responses.record_statuses(request.keys, [outcome.status for outcome in outcomes])
    PostgresOutbox(pool).number()

    def run():
        with pool.connection() as connection:
            return check(connection, sent, responses, NOTHING, flows)

    return run


def test_a_correct_database_has_no_violations(run_checks):
    checked = run_checks()

    assert (checked.violations, checked.lost, checked.doubled) == ([], 0, 0)
    assert checked.rows == checked.counts.stored.total() > 60
    assert checked.counts.webhooks["rejected"] >= 9


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("DELETE FROM events WHERE id = (SELECT min(id) FROM events)", "1 acknowledged events are not stored"),
        (
            """CREATE TEMP TABLE copied AS SELECT * FROM events LIMIT 1; UPDATE copied SET id = 'another';
            INSERT INTO events SELECT * FROM copied""",
            "1 events are stored more than once",
        ),
        ("UPDATE event_counts SET duplicate = duplicate + 1 WHERE source = 'aws'", "are counted"),
        ("UPDATE event_totals SET stored = stored + 1 WHERE source = 'gcp'", "the totals are not the sums"),
        ("UPDATE event_counts SET stored = stored - 1 WHERE source = 'azure'", "rows, but"),
        ("UPDATE dead_letters SET attempts = attempts + 1", "the dead letters have"),
        ("DELETE FROM dead_letters WHERE id = (SELECT min(id) FROM dead_letters)", "have no dead letter"),
        ("UPDATE frames SET position = NULL WHERE position = 2", "frames,"),
        ("DELETE FROM frames WHERE position = 2", "frames,"),
        ("UPDATE frames SET keys = '[]' WHERE position = 1", "but the stream contains"),
        ("UPDATE flow_instances SET status = 'incomplete' WHERE status = 'matched'", "orders have the wrong verdict"),
        (
            """UPDATE flow_instances SET details = jsonb_set(details::jsonb, '{0}', '1')
            WHERE key = (SELECT min(key) FROM flow_instances)""",
            "do not follow from their events",
        ),
        (
            "DELETE FROM flow_instances WHERE key = (SELECT min(key) FROM flow_instances)",
            "do not follow from their events",
        ),
    ],
)
def test_each_violation_is_reported(statement, sentence, run_checks, pool):
    with pool.connection() as connection:
        connection.execute(statement)

    assert any(sentence in violation for violation in run_checks().violations)


@pytest.mark.parametrize(
    ("key", "status", "sentence"),
    [
        (("aws", "id"), "rejected", "was reported as rejected"),
        (("aws", "id"), "contradictory", "was reported as contradictory"),
        (None, "stored", "poison was reported as stored"),
    ],
)
def test_a_response_that_must_not_occur_is_reported(key, status, sentence):
    responses = ResponseLog()
    responses.record_statuses([key], [status])

    assert sentence in responses.violations[0]
    assert not responses.acknowledged
