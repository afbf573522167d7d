"""The words of a notification, for an incident of every kind."""

from typing import get_args

import pytest

from helios.adapters.notifications.words import body_of
from helios.model.incidents import Cause, Incident, IncidentKind, Transition
from helios.model.notifications import Message
from tests.support.deliveries import NOON

COUNTED = {
    "flow": "3 instances are broken",
    "silence": "3 instances wait for it",
    "dead_letters": "3 deliveries",
    "consumer": "opened",
    "drift": "3 events are missing",
}


@pytest.mark.parametrize("kind", get_args(IncidentKind))
def test_a_message_begins_with_what_its_incident_counts(kind):
    cause = Cause(kind=kind, source="aws")
    incident = Incident(id=1, cause=cause, title="t", severity="error", opened_at=NOON, seen_at=NOON, number=3)
    message = Message(receiver="ops", id="1", transitions=(Transition(what="opened", at=NOON, incident=incident),))

    assert body_of(message).startswith(COUNTED[kind])
