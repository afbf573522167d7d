"""kill -9 between any two steps of ingest, then the same batch again: no event is lost or stored twice."""

import json
import signal
import subprocess
import sys
from collections import Counter

import pytest

from helios.processes.process import scrubbed_environment
from tests.support.api import ROOT, Api
from tests.support.client import EVENTGRID, call
from tests.support.crash import NEW_STEPS, STEPS
from tests.support.deliveries import eventbridge, eventgrid, poison
from tests.support.envelopes import sqs_event

IDS = [f"{number:02}" for number in range(20)]
"""In the sort order of the database."""
ONCE = Counter(stored=20, duplicate=1, rejected=1)
"""The counts after the batch is ingested once."""
REPEATED = Counter(duplicate=21, rejected=1)
"""The additional counts when the batch is ingested again: every delivery is counted."""
END_SECONDS = 20

each_step = pytest.mark.parametrize("step", STEPS)


def sqs_batch() -> dict:
    """An SQS batch of twenty events, one of them twice, and a message that can't be read."""
    return sqs_event(*(eventbridge(id_).body for id_ in [*IDS, IDS[0]]), poison().body)


def array() -> bytes:
    """The same deliveries as an Event Grid array."""
    events = [json.loads(eventgrid(id_).body) for id_ in [*IDS, IDS[0]]]
    return json.dumps([*events, {"data": "no id"}]).encode()


def assert_exact(records, source, step):
    """No event is lost or stored twice, and the counts include each ingest of the batch that was committed."""
    assert records.ids(source) == IDS
    assert records.counts() == (ONCE + REPEATED if step.is_committed else ONCE)
    records.assert_exact()


@pytest.fixture
def invoke(database_url, redis_url):
    """Run a cold Lambda function with the batch, in a process of its own."""

    def run(step: str | None = None) -> subprocess.CompletedProcess:
        crash = ["tests.support.crash", step, "-m"] if step else []
        return subprocess.run(
            [sys.executable, "-m", *crash, "tests.support.aws_lambda", "functions.aws.ingest.handler"],
            input=json.dumps(sqs_batch()),
            env=scrubbed_environment(
                HELIOS_DATABASE_URL=database_url,
                HELIOS_REDIS_URL=redis_url,
                POWERTOOLS_METRICS_NAMESPACE="Helios",
            ),
            cwd=ROOT,
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )

    return run


@each_step
def test_a_killed_lambda_function_loses_and_doubles_no_event(step, invoke, records):
    crashed = invoke(step)

    assert crashed.returncode == -signal.SIGKILL, crashed.stderr
    assert records.ids("aws") == (IDS if STEPS[step].is_committed else [])

    second = invoke()

    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout.splitlines()[-1]) == {"batchItemFailures": []}
    assert_exact(records, "aws", STEPS[step])


@each_step
def test_a_killed_api_loses_and_doubles_no_event(step, api, records, database_url, redis_url, server_folder):
    with Api(
        database_url=database_url, redis_url=redis_url, log=server_folder / "crash.log", crash_at=step
    ) as crashing:
        with pytest.raises(ConnectionResetError):
            call(crashing.url, EVENTGRID, array())
        assert crashing.ending(END_SECONDS) == "by SIGKILL"
    assert records.ids("azure") == (IDS if STEPS[step].is_committed else [])

    assert call(api.url, EVENTGRID, array()).status == 200
    assert_exact(records, "azure", STEPS[step])


@pytest.mark.parametrize("step", NEW_STEPS)
def test_a_batch_of_new_events_is_stored_whole_or_not_at_all(
    step, api, records, database_url, redis_url, server_folder
):
    body = json.dumps([json.loads(eventgrid(id_).body) for id_ in IDS]).encode()
    with Api(
        database_url=database_url, redis_url=redis_url, log=server_folder / "crash.log", crash_at=step
    ) as crashing:
        with pytest.raises(ConnectionResetError):
            call(crashing.url, EVENTGRID, body)
        assert crashing.ending(END_SECONDS) == "by SIGKILL"
    is_committed = NEW_STEPS[step].is_committed
    assert records.ids("azure") == (IDS if is_committed else [])

    assert call(api.url, EVENTGRID, body).status == 200
    assert records.ids("azure") == IDS
    assert records.counts() == Counter(stored=20, duplicate=20 if is_committed else 0)
    records.assert_exact()
