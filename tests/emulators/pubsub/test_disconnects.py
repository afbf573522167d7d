"""Clients that leave in the middle of a response."""

import json
import time
from threading import Event

import pytest
from google.pubsub_v1 import types

from tests.emulators.pubsub.test_conformance import Queue

STREAMS = 20
LARGE = b"x" * 9_000_000


@pytest.fixture
def abandoned(killable, project):
    """A queue whose messages 20 clients have begun to read."""
    queue = Queue(killable, project)
    for _ in range(5):
        queue.publish(LARGE)
    left = Event()

    def requests():
        yield types.StreamingPullRequest(subscription=queue.name, stream_ack_deadline_seconds=10)
        left.wait(20)

    for number in range(STREAMS):
        stream = killable.subscriber().streaming_pull(requests=requests(), timeout=20)
        time.sleep(number * 0.02)  # another moment of the response each time
        stream.cancel()
    left.set()
    return queue


def test_a_client_that_leaves_during_a_response_is_no_error(killable, abandoned):
    abandoned.publish(b"1")
    lines = [json.loads(line) for line in (killable.folder / "pubsub.log").read_text().splitlines()]

    assert [line for line in lines if line["level"] != "INFO"] == []
