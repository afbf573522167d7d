"""The sink as a program: killed between Kafka's acknowledgement and its commit of the offset, it loses no event."""

import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from helios.adapters.postgres.stream import PostgresOutbox
from helios.model.stream import Parked
from helios.processes.probes import follows
from helios.processes.process import scrubbed_environment
from helios.services.sink import KAFKA
from tests.support.api import ROOT
from tests.support.client import EVENTBRIDGE, call
from tests.support.deliveries import aws_key, eventbridge
from tests.support.waiting import eventually

END_SECONDS = 60

# The sink commits its offset after Kafka has acknowledged the events: this one is killed before the commit.
KILLED_BEFORE_THE_COMMIT = """
import os, signal, sys
from helios.adapters.postgres.stream import PostgresConsumerOffset
PostgresConsumerOffset.commit = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from helios.__main__ import main
sys.exit(main(["sink"]))
"""


@pytest.fixture
def topic(request) -> str:
    """The name of a topic that no other test uses."""
    return str(request.node.name)


@pytest.fixture
def sink(database_url, kafka, topic):
    """Start the sink with the topic of this test."""
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


def test_a_sink_killed_before_its_commit_sends_the_events_again_and_continues(api, sink, kafka, topic, pool, records):
    for number in range(5):
        assert call(api.url, EVENTBRIDGE, eventbridge(str(number)).body).status == 202
    assert sink("-c", KILLED_BEFORE_THE_COMMIT).wait(END_SECONDS) == -signal.SIGKILL

    restarted = sink("-m", "helios", "sink")
    assert call(api.url, EVENTBRIDGE, eventbridge("5").body).status == 202
    outbox = PostgresOutbox(pool)

    def done() -> bool:
        with outbox.offset("kafka") as offset:
            return offset.position == 6

    eventually(done, seconds=END_SECONDS)
    sent = Counter(message.headers["ce_id"] for message in kafka.messages(topic, 11))
    assert sent == Counter("01234" * 2 + "5")
    restarted.send_signal(signal.SIGTERM)
    assert restarted.wait(END_SECONDS) == 0


def test_an_idle_sink_reports_that_it_runs(sink, database_url, pool):
    """The demo waits for this before it takes the sink for ready."""
    runs = follows(database_url, KAFKA)
    assert not runs()
    sink("-m", "helios", "sink")
    eventually(runs, seconds=END_SECONDS)


def test_parked_events_are_sent_again_by_the_option_parked(api, sink, kafka, topic, pool, records):
    assert call(api.url, EVENTBRIDGE, eventbridge("refused").body).status == 202
    outbox = PostgresOutbox(pool)
    with outbox.offset(KAFKA) as offset:
        offset.park([Parked(key=aws_key("refused"), reason=f"topic {topic}: unknown")])

    assert sink("-m", "helios", "sink", "--parked").wait(END_SECONDS) == 0
    assert [consumer.parked for consumer in outbox.consumers()] == [0]
    assert [message.headers["ce_id"] for message in kafka.messages(topic, 1)] == ["refused"]


def test_without_brokers_the_sink_names_the_missing_setting(database_url):
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
