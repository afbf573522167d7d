"""Nothing is lost, doubled or judged differently when parts of the cluster die, and when the job is moved."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from msgspec.structs import replace

from helios.model.events import Delivery
from helios.reconciliation.record import FlowKey
from tests.fixtures.flink import WAIT_SECONDS, expected_records
from tests.support.instances import ORDER, sent
from tests.support.waiting import eventually

PARTS = 6
SECOND = timedelta(seconds=1)
LATER = timedelta(minutes=10)
SECONDS_PER_EVENT = 0.03
"""How long a loaded machine may take for an event, with everything that dies meanwhile."""


def orders(start: datetime, count: int) -> Iterator[Delivery]:
    """Deliveries of orders, some of them sent twice, contradictory, or incomplete."""
    for number in range(count):
        at = start + number % 600 * SECOND / 10
        data = {"order_id": f"ORD-{number}", "amount": 10 + number % 7, "currency": "EUR", "quantity": 1}
        placed = sent("eventbridge", "OrderPlaced", data, id_=f"o{number}", received_at=at, happened_at=start - SECOND)
        paid = sent(
            "cloudevents",
            "PaymentProcessed",
            data | ({"amount": 1} if number % 50 == 1 else {}),
            id_=f"p{number}",
            received_at=at + SECOND,
            happened_at=start - SECOND,
        )
        reserved = sent(
            "eventgrid", "InventoryReserved", data, id_=f"i{number}", received_at=at, happened_at=start - SECOND
        )
        yield placed
        yield paid
        if number % 40 != 2:
            yield reserved
        if number % 20 == 3:
            yield replace(placed, received_at=at + 2 * SECOND)


def projected_counts(pool) -> tuple[int, ...]:
    """The deliveries that are counted in Postgres: stored, duplicate, contradictory and rejected."""
    sums = "sum(stored), sum(duplicate), sum(contradictory), sum(rejected)"
    with pool.connection() as connection:
        return tuple(int(count or 0) for count in connection.execute(f"SELECT {sums} FROM log_counts").fetchone())


def projected_verdicts(pool) -> dict[FlowKey, str]:
    """The verdicts in Postgres."""
    with pool.connection() as connection:
        rows = connection.execute("SELECT flow, key, status FROM flow_instances").fetchall()
    return {(flow, key): status for flow, key, status in rows}


def projected_events(pool) -> int:
    """The number of events in Postgres."""
    with pool.connection() as connection:
        return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])


@pytest.mark.slow
def test_every_event_survives_the_death_of_every_part(stage, pool, database_url, pytestconfig):
    """20,000 events, or another number: ``--flink-events``."""
    start = datetime.now(UTC) - timedelta(minutes=30)
    deliveries = list(islice(orders(start, pytestconfig.option.flink_events), pytestconfig.option.flink_events))
    seconds = 300 + SECONDS_PER_EVENT * len(deliveries)
    remaining = iter(deliveries)

    def append_part() -> None:
        stage.append(list(islice(remaining, len(deliveries) // PARTS)))

    job = stage.start(parallelism=2)
    projector = stage.projector(database_url)
    append_part()
    stage.results.wait(lambda results: len(results.events) > 0)
    eventually(lambda: projected_counts(pool)[0] > 0, seconds=seconds)

    projector.kill()
    append_part()
    stage.projector(database_url)

    stage.flink.taskmanagers[0].kill()
    append_part()
    stage.flink.start()
    job.wait_running()

    stage.kafka.nodes[2].kill()
    append_part()
    stage.kafka.start()

    stage.flink.jobmanager.kill()
    append_part()
    stage.flink.start()
    job = stage.start(parallelism=2, start="latest")

    savepoint = job.savepoint(stage.folder / "savepoints")
    stage.append(list(remaining))
    stage.heartbeat(start + LATER)
    stage.start(parallelism=1, start=savepoint)

    expected = expected_records([ORDER], deliveries, start + LATER)
    repeated = len(deliveries) - len({delivery.body for delivery in deliveries})
    stage.results.wait(
        lambda results: (
            results.total().received == len(deliveries)
            and results.total().duplicate == repeated
            and len(results.events) == len(deliveries) - repeated
            and {key: replace(record, version=0) for key, record in results.records().items()} == expected
        ),
        seconds=seconds,
    )
    keys = [event.key for event in stage.results.events]
    assert len(keys) == len(set(keys)), "an event is doubled"
    for records in stage.results.verdicts.values():
        assert [record.version for record in records] == list(range(1, len(records) + 1))
    statuses = {record.status for record in expected.values()}
    assert statuses == {"matched", "mismatched", "incomplete"}

    stored = len(deliveries) - repeated
    eventually(lambda: projected_counts(pool) == (stored, repeated, 0, 0), seconds=seconds)
    verdicts = {key: record.status for key, record in expected.items()}
    eventually(lambda: projected_verdicts(pool) == verdicts, seconds=seconds)
    eventually(lambda: projected_events(pool) == stored, seconds=seconds)


def test_a_job_that_starts_without_its_state_leaves_what_postgres_has(stage, pool, database_url):
    """It reads the whole log again, and begins the versions of the records again at 1."""
    start = datetime.now(UTC) - timedelta(minutes=30)
    deliveries = list(orders(start, 40))
    half = len(deliveries) // 2
    job = stage.start()
    stage.projector(database_url)
    stage.append(deliveries[:half])
    before = expected_records([ORDER], deliveries[:half], start)
    eventually(lambda: projected_events(pool) == len({each.body for each in deliveries[:half]}), seconds=WAIT_SECONDS)
    eventually(lambda: projected_verdicts(pool).keys() == before.keys(), seconds=WAIT_SECONDS)
    job.cancel()

    stage.start()
    stage.append(deliveries[half:])
    stage.heartbeat(start + LATER)
    expected = expected_records([ORDER], deliveries, start + LATER)
    verdicts = {key: record.status for key, record in expected.items()}
    stored = len({delivery.body for delivery in deliveries})
    counts = (stored, len(deliveries) - stored, 0, 0)
    eventually(
        lambda: projected_verdicts(pool) == verdicts, seconds=WAIT_SECONDS, facts=lambda: projected_verdicts(pool)
    )
    eventually(lambda: projected_counts(pool) == counts, seconds=WAIT_SECONDS, facts=lambda: projected_counts(pool))
    assert projected_events(pool) == stored
