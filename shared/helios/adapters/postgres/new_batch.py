"""Stores a batch of new events with one statement: one round trip, and one transaction without BEGIN and COMMIT."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.errors import Diagnostic, SerializationFailure

from helios.adapters.postgres import events, flows
from helios.adapters.postgres.parameters import to_json
from helios.adapters.postgres.stream import APPEND_FRAME, frame_parameters
from helios.ports.unit_of_work import InstancesChanged, NewBatch


def _statement(new_ids: str, write_flows: str, flow: str, key: str) -> str:
    """The statement that stores a batch with instances, whose flows and keys are these parameters.

    Events before instances, as in every unit of work: writers that lock in one order do not deadlock. Postgres runs the
    parts in the order in which they are read.
    """
    return f"""
WITH {new_ids}, stored AS ({events.INSERT_NEW_EVENTS} RETURNING 1),
written AS ({write_flows} RETURNING 1),
frame AS ({APPEND_FRAME})
SELECT assert_new((SELECT count(*) FROM stored), %(events_expected)s),
       assert_instances((SELECT count(*) FROM written), %(instances_expected)s, {flow}, {key})
"""  # noqa: S608 - only constants are filled in


STORE_NEW_BATCH = _statement(events.NEW_EVENT_IDS, flows.WRITE_FLOWS, "%(flow)s", "%(key)s")

# Of one event and one instance, as most functions store them: it takes Postgres a quarter less time.
_ONE = ("json_build_array(%(flow)s::text)", "json_build_array(%(key)s::text)")
STORE_NEW_EVENT = _statement(events.NEW_EVENT_ID, flows.WRITE_FLOW, *_ONE)
STORE_FURTHER_EVENT = _statement(events.NEW_EVENT_ID, flows.UPDATE_FLOW, *_ONE)

# Without instances: a statement of fewer parts, for events that belong to no flow.
STORE_NEW_EVENTS = f"""
WITH {events.NEW_EVENT_IDS}, stored AS ({events.INSERT_NEW_EVENTS} RETURNING 1), frame AS ({APPEND_FRAME})
SELECT assert_new((SELECT count(*) FROM stored), %(events_expected)s)
"""  # noqa: S608 - the same


def statement(batch: NewBatch) -> tuple[str, dict[str, object]]:
    """The statement that stores a batch, and its parameters."""
    expected = {"events_expected": len(batch.events), "instances_expected": len(batch.instances)}
    common = expected | frame_parameters(batch.frame, batch.events, batch.flow_counts, batch.generation)
    if len(batch.events) == len(batch.instances) == 1:
        one = common | events.values(batch.events[0]) | flows.values(batch.instances[0])
        if batch.replaced:
            return STORE_FURTHER_EVENT, one | {"opened_before": batch.replaced.opened_at}
        return STORE_NEW_EVENT, one
    if batch.instances:
        return STORE_NEW_BATCH, common | {"events": to_json(batch.events)} | flows.columns(batch.instances)
    return STORE_NEW_EVENTS, common | {"events": to_json(batch.events)}


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
        raise InstancesChanged(f"Postgres: {error}", flows.flows_from_json(notices[-1]) if notices else None) from error
    finally:
        connection.remove_notice_handler(receive)
