"""The sink as a program: killed between Kafka's acknowledgement and its own note, it loses nothing."""

import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from helios.adapters.postgres.stream import PostgresOutbox
from helios.model.stream import Parked
from helios.services.sink import KAFKA
from local.stack.probes import follows
from local.stack.process import scrubbed_environment
from tests.support.api import ROOT
from tests.support.client import EVENTBRIDGE, call
from tests.support.deliveries import eventbridge
from tests.support.waiting import eventually

END_SECONDS = 20

# Its place in the stream moves when the block around the cursor is left: it dies just before.
KILLED_BEFORE_ITS_NOTE = """
import os, signal, sys
from helios.adapters.postgres.stream import PostgresConsumerOffset
PostgresConsumerOffset.advance = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from helios.__main__ import main
sys.exit(main(["sink"]))
"""


@pytest.fixture
def topic(request) -> str:
    """Of this test alone."""
    return str(request.node.name)


@pytest.fixture
def sink(database_url, kafka, topic):
    """Start the sink, with a topic of this test's."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> "subprocess.Popen[bytes]":
        environment = scrubbed_environment(
            HELIOS_DATABASE_URL=database_url, HELIOS_KAFKA_BROKERS=kafka.brokers, HELIOS_KAFKA_TOPIC=topic
        )
        running.append(subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment))
        return running[-1]

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait(END_SECONDS)


def test_killed_before_its_note_it_sends_again_and_then_goes_on(api, sink, kafka, topic, pool, records):
    for number in range(5):
        assert call(api.url, EVENTBRIDGE, eventbridge(str(number)).body).status == 202
    assert sink("-c", KILLED_BEFORE_ITS_NOTE).wait(END_SECONDS) == -signal.SIGKILL

    again = sink("-m", "helios", "sink")
    assert call(api.url, EVENTBRIDGE, eventbridge("5").body).status == 202
    outbox = PostgresOutbox(pool)

    def done() -> bool:
        with outbox.offset("kafka") as offset:
            return offset.position == 6

    eventually(done)
    sent = Counter(message.headers["ce_id"] for message in kafka.messages(topic, 11))
    assert sent == Counter("01234" * 2 + "5")
    again.send_signal(signal.SIGTERM)
    assert again.wait(END_SECONDS) == 0


def test_a_sink_with_nothing_to_do_shows_that_it_lives(sink, database_url, pool):
    """The demo takes it for ready only then."""
    lives = follows(database_url, KAFKA)
    assert not lives()
    sink("-m", "helios", "sink")
    eventually(lives)


def test_what_was_refused_is_sent_again_when_it_is_told_to(api, sink, kafka, topic, pool, records):
    assert call(api.url, EVENTBRIDGE, eventbridge("refused").body).status == 202
    outbox = PostgresOutbox(pool)
    with outbox.offset(KAFKA) as offset:
        offset.park([Parked(key=("aws", "refused"), reason=f"topic {topic}: unknown")])

    assert sink("-m", "helios", "sink", "--parked").wait(END_SECONDS) == 0
    assert [one.parked for one in outbox.consumers()] == [0]
    assert [message.headers["ce_id"] for message in kafka.messages(topic, 1)] == ["refused"]


def test_without_brokers_it_says_which_setting_it_needs(database_url):
    environment = scrubbed_environment(HELIOS_DATABASE_URL=database_url)
    ended = subprocess.run(
        [sys.executable, "-m", "helios", "sink"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
        check=False,
    )

    assert (ended.returncode, os.linesep in ended.stderr) == (2, True)
    assert "HELIOS_KAFKA_BROKERS is not set" in ended.stderr
