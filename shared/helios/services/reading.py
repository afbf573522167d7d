"""Reads deliveries: what an edge receives, and what it appended to the log, become an event or the reason why not."""

import logging

import msgspec

from helios.errors import DEFECTS, Rejected
from helios.messages import DeliveryMessage, delivery_key, delivery_of, encode_delivery
from helios.model.dead_letters import fingerprint_of
from helios.model.events import Delivery, Event, Fault
from helios.normalise import normalise
from helios.normalise.redact import Redaction
from helios.reconciliation.fold import Fold
from helios.sources.registry import Sources

log = logging.getLogger("helios.ingest")


class Reading(msgspec.Struct, frozen=True, gc=False):
    """A delivery, and what ``normalise`` read in it.

    Attributes:
        content: the event, or why there is none.
        is_erased: the event was erased: its delivery is a duplicate, and no evidence.
    """

    delivery: Delivery
    content: Event | Fault
    is_erased: bool = False


def read(delivery: Delivery, redaction: Redaction | None = None) -> Reading:
    """What is in a delivery. The reading has the redacted delivery; it raises nothing, whatever the bytes are."""
    try:
        return Reading(*redaction.read(delivery)) if redaction else Reading(delivery, normalise(delivery))
    except Rejected as error:
        return Reading(redaction.for_dead_letter(delivery) if redaction else delivery, fault_of(error))
    except DEFECTS as defect:
        storable = redaction.for_dead_letter(delivery) if redaction else delivery
        return Reading(storable, fault_of(internal_error_rejection(storable, defect)))


def read_message(message: DeliveryMessage, sources: Sources) -> Reading:
    """What is in a message of the log: the same as the edge read that appended it."""
    delivery = delivery_of(message, sources)
    if delivery.fault:
        return Reading(delivery, delivery.fault)
    return Reading(delivery, message.event) if message.event else read(delivery)


def message_of(reading: Reading, fold: Fold, *, is_redacted: bool, accept: bool = False) -> tuple[str, bytes]:
    """The key and the value of the message with which an edge appends a delivery.

    Args:
        reading: what the edge read.
        fold: knows the flow instances to which events belong.
        is_redacted: whether fields are redacted: what can't be read again from the redacted body goes into the message.
        accept: see ``DeliveryMessage``.
    """
    delivery, content = reading.delivery, reading.content
    if isinstance(content, Fault):
        return delivery_key(delivery, None, []), encode_delivery(delivery, fault=content, accept=accept)
    is_readable = not is_redacted or read(delivery).content == content
    return (
        delivery_key(delivery, content, fold.instances_of(content)),
        encode_delivery(delivery, event=None if is_readable else content, accept=accept),
    )


def fault_of(rejection: Rejected) -> Fault:
    """The rejection, without its traceback."""
    return Fault(reason=rejection.reason, field=rejection.field, status=rejection.status)


def internal_error_rejection(delivery: Delivery, defect: Exception) -> Rejected:
    """The rejection of a delivery that triggers a bug in Helios. The stack trace is logged."""
    log.error(
        "internal error",
        exc_info=defect,
        extra={"channel": delivery.channel, "fingerprint": fingerprint_of(delivery)},
    )
    return Rejected(f"Internal error ({type(defect).__name__}). Replay this event after the fix.", field="body")
