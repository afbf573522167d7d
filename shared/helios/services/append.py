"""Appends deliveries to the log, where another engine judges them: what an edge does instead of storing them."""

import time
from collections.abc import Sequence

from msgspec.structs import replace

from helios.errors import DEFECTS, ConfigurationError, Rejected
from helios.model.events import Delivery, Fault, Outcome
from helios.normalise.redact import Redaction
from helios.ports.log import DeliveryLog
from helios.ports.unit_of_work import EventStore
from helios.reconciliation.fold import Fold
from helios.services.ingest import AlsoWrite
from helios.services.outcomes import log_batch
from helios.services.reading import Reading, fault_of, internal_error_rejection, message_of, read


def append(
    deliveries: Sequence[Delivery],
    *,
    log: DeliveryLog,
    fold: Fold,
    redaction: Redaction | None = None,
    store: EventStore | None = None,
    also_write: AlsoWrite | None = None,
    accept: bool = False,
) -> list[Outcome]:
    """Append each delivery to the log, readable or not, so that the engine stores its event once.

    Returning means that the cloud may forget the deliveries: each is on all replicas of the log that are in sync.

    Args:
        deliveries: a batch, in order of arrival.
        log: the log.
        fold: knows the flow instances to which events belong, which decide about partitions.
        redaction: replaces the fields that must not be stored; None: no field is named.
        store: begins the transaction of ``also_write``.
        also_write: writes more in a transaction that commits once the deliveries are in the log.
        accept: store events beyond the identity horizon.

    Returns:
        What is known of each delivery, in the same order: ``rejected`` if it can't be read, otherwise ``accepted``.

    Raises:
        Retryable: the outcome is unknown. The cloud must deliver all of them again, which is safe.
        Rejected: only with ``also_write``: one delivery can't be read, so none was appended.
    """
    started = time.perf_counter()
    readings = [read(delivery, redaction) for delivery in deliveries]
    messages = []
    for number, reading in enumerate(readings):
        try:
            messages.append(message_of(reading, fold, is_redacted=redaction is not None, accept=accept))
        except DEFECTS as defect:
            readings[number] = _unstorable(reading, defect)
            messages.append(message_of(readings[number], fold, is_redacted=False))
    outcomes = [_outcome(reading) for reading in readings]
    if also_write and (rejected := next((each for each in outcomes if each.status == "rejected"), None)):
        raise Rejected(rejected.reason or "", field=rejected.field or "body", status=rejected.http_status)
    if also_write is None:
        log.append(messages)
    elif store is None:
        raise ConfigurationError("HELIOS_DATABASE_URL is required to write beside the log.")
    else:
        with store.transaction() as work:
            also_write(work, outcomes)
            log.append(messages)  # after this the commit may fail, and the repetition is a duplicate
    log_batch("appended", outcomes, started)
    return outcomes


def _outcome(reading: Reading) -> Outcome:
    content = reading.content
    if isinstance(content, Fault):
        return Outcome(status="rejected", reason=content.reason, field=content.field, http_status=content.status)
    return Outcome(status="accepted", event=content)


def _unstorable(reading: Reading, defect: Exception) -> Reading:
    """The reading of a delivery of which no message can be made.

    Text in headers may be half a character, which no JSON can hold: JSON that a cloud parses may have an escaped one.
    """
    headers = {_encodable(name): _encodable(value) for name, value in reading.delivery.headers.items()}
    delivery = replace(reading.delivery, headers=headers)
    if isinstance(reading.content, Fault):
        fault = reading.content
        encodable = Fault(reason=_encodable(fault.reason), field=_encodable(fault.field), status=fault.status)
        return Reading(delivery, encodable)
    return Reading(delivery, fault_of(internal_error_rejection(delivery, defect)))


def _encodable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
