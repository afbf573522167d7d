"""Stores a batch of new events with one statement: one round trip, and one transaction without BEGIN and COMMIT."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.errors import Diagnostic, SerializationFailure

from helios.adapters.postgres.events import INSERT_NEW_EVENTS, NEW_EVENT_IDS
from helios.adapters.postgres.flows import WRITE_FLOWS, columns, flows_from_json
from helios.adapters.postgres.parameters import to_json
from helios.adapters.postgres.stream import APPEND_FRAME, frame_parameters
from helios.ports.unit_of_work import InstancesChanged, NewBatch

# Events before instances, as in every unit of work: writers that lock in one order do not deadlock. Postgres runs the
# parts in the order in which they are read.
STORE_NEW_BATCH = f"""
WITH {NEW_EVENT_IDS}, stored AS ({INSERT_NEW_EVENTS} RETURNING 1),
written AS ({WRITE_FLOWS} RETURNING 1),
frame AS ({APPEND_FRAME})
SELECT assert_new((SELECT count(*) FROM stored), %(events_expected)s),
       assert_instances((SELECT count(*) FROM written), %(instances_expected)s, %(flow)s, %(key)s)
"""  # noqa: S608 - only constants are filled in


# Without instances: a statement of fewer parts, for events that belong to no flow.
STORE_NEW_EVENTS = f"""
WITH {NEW_EVENT_IDS}, stored AS ({INSERT_NEW_EVENTS} RETURNING 1), frame AS ({APPEND_FRAME})
SELECT assert_new((SELECT count(*) FROM stored), %(events_expected)s)
"""  # noqa: S608 - the same


def parameters(batch: NewBatch) -> dict[str, object]:
    """The parameters of both statements."""
    instances = columns(batch.instances) if batch.instances else {}
    return {
        "events": to_json(batch.events),
        "events_expected": len(batch.events),
        "instances_expected": len(batch.instances),
        **instances,
        **frame_parameters(batch.frame, batch.events, batch.flow_counts, batch.generation),
    }


@contextmanager
def naming_instances(connection: psycopg.Connection) -> Iterator[None]:
    """Raise what ``assert_instances`` has found, with the instances that it sends before the error.

    Raises:
        InstancesChanged: an instance has another version. Its instances are None where the role suppresses notices.
    """
    notices: list[str] = []

    def receive(notice: Diagnostic) -> None:
        notices.append(notice.message_primary or "")

    connection.add_notice_handler(receive)
    try:
        yield
    except SerializationFailure as error:
        raise InstancesChanged(f"Postgres: {error}", flows_from_json(notices[-1]) if notices else None) from error
    finally:
        connection.remove_notice_handler(receive)
