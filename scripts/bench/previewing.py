"""The preview of a flow version at a million flow instances: how long it takes, and how many instances it compares."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.model.events import Delivery
from helios.reconciliation import declaration
from helios.reconciliation.declaration import Flow
from helios.reconciliation.leg import Leg as FlowLeg
from helios.reconciliation.rule import Rule
from helios.services.flow_preview import PreviewSources, preview_flow
from helios.services.flow_versions import PREVIEW_SECONDS
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.sweep import expire_flows
from scripts.bench.orders import LEGS, SMALL_BYTES
from scripts.bench.report import Table
from scripts.bench.servers import Servers

INSTANCES = 1_000_000
QUICK_INSTANCES = 20_000
TEMPLATES = 200
"""Orders that are ingested; the database copies them under other ids and times, because ingest would take minutes."""
PERIOD = timedelta(days=30)
"""The orders are spread over the period of a preview: each copy is this much older, divided by the number of copies."""
INCOMPLETE_EVERY = 50
GOAL_SECONDS = 5

_TAG = "COPY-00000"

# Each copy has another id, and is older than the next one.
COPIES = """
CREATE TABLE copies AS
SELECT 'COPY-' || lpad(n::text, 5, '0') AS copy, n * %(apart)s AS age FROM generate_series(1, %(copies)s) AS n
"""

COPY = (
    """
    INSERT INTO event_ids (key, digest, received_at)
    SELECT event_key(source, producer, replace(id, %(tag)s, copy)), digest, received_at - age FROM events, copies
    """,
    """
    INSERT INTO events (source, producer, id, type, subject, time, received_at, data, attributes, order_id, customer_id,
                        amount, digest)
    SELECT source, producer, replace(id, %(tag)s, copy), type, subject, time - age, received_at - age,
           replace(data::text, %(tag)s, copy)::json, attributes, replace(order_id, %(tag)s, copy), customer_id, amount,
           digest
    FROM events, copies
    """,
    # The evidence in `details` is not older: past the deadline, the verdict depends on the time between the legs only.
    """
    INSERT INTO flow_instances (flow, key, status, opened_at, deferred_until, waiting, issues, version, details)
    SELECT flow, replace(key, %(tag)s, copy), status, opened_at - age, deferred_until, waiting, issues, version,
           replace(details, %(tag)s, copy)
    FROM flow_instances, copies
    """,
)


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """A version with other rules, and one with another leg, each previewed three times."""
    instances = QUICK_INSTANCES if quick else INSTANCES
    running.empty()
    (order,) = declaration.load()
    stricter = replace(order, rule=(Rule(equal=("order.amount", "payment.amount"), within="0.01"),))
    longer = replace(order, leg=(*order.leg, FlowLeg(name="parcel", type="ParcelHandedOver", optional=True)))
    now = datetime.now(UTC)
    with open_pool(running.database_url, connections=2, timeout_seconds=600) as pool:
        _fill(running, PostgresStore(pool), Reconciler([order]), now, instances)
        reader = PostgresReader(pool)
        sources = PreviewSources(reader, reader, PostgresStore(pool))
        rows = [
            row
            for name, flow in (("other rules: a random sample", stricter), ("another leg: the newest events", longer))
            for row in _previews(name, flow, Reconciler([order]), sources, now)
        ]
    columns = ("version", "seconds", "problems compared", "problems", "others compared", "others")
    title = f"Preview of a flow version at {instances:,} flow instances"
    return [Table(title=title, columns=columns, rows=rows, goal=f"goal: below {GOAL_SECONDS} seconds")]


def _fill(running: Servers, store: PostgresStore, reconciler: Reconciler, now: datetime, instances: int) -> None:
    """Orders of the PERIOD, TEMPLATES at a time, one in INCOMPLETE_EVERY without its last leg."""
    received_at = now - timedelta(hours=1)
    for number in range(TEMPLATES):
        order = f"ORD-{_TAG}-{number}"
        legs = LEGS[:-1] if number % INCOMPLETE_EVERY == 0 else LEGS
        deliveries = [
            Delivery(
                channel=leg.channel,
                body=leg.body(order, SMALL_BYTES, id_=f"{order}-{index}"),
                received_at=received_at + timedelta(milliseconds=number),
            )
            for index, leg in enumerate(legs)
        ]
        ingest(deliveries, dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
    expire_flows(now, store=store, reconciler=reconciler)
    copies = instances // TEMPLATES - 1
    # The oldest copy stays within the period of the preview.
    values = {"tag": _TAG, "copies": copies, "apart": (PERIOD - timedelta(hours=2)) / copies}
    with psycopg.connect(running.admin_url, autocommit=True) as connection:
        for statement in (COPIES, *COPY, "DROP TABLE copies"):
            connection.execute(statement, values)
        connection.execute("VACUUM ANALYZE")


def _previews(
    name: str, flow: Flow, in_force: Reconciler, sources: PreviewSources, now: datetime
) -> Sequence[tuple[str, float, int, int, int, int]]:
    rows = []
    for _ in range(3):
        result = preview_flow(flow, in_force, read_from=sources, since=now - PERIOD, now=now, seconds=PREVIEW_SECONDS)
        problems, others = result.problems, result.others
        rows.append((name, result.seconds, problems.compared, problems.instances, others.compared, others.instances))
    return rows
