"""kill -9 between any two steps of ingest, then the same batch again: nothing lost, nothing doubled."""

import json
import signal
import subprocess
import sys
from collections import Counter

import pytest

from local.stack.process import scrubbed_environment
from tests.support.api import ROOT, Api
from tests.support.client import EVENTGRID, call
from tests.support.crash import STEPS
from tests.support.deliveries import eventbridge, eventgrid, poison
from tests.support.envelopes import sqs_event

IDS = [f"{number:02}" for number in range(20)]
"""As they sort in the database."""
ONCE = Counter(stored=20, duplicate=1, rejected=1)
"""What becomes of the batch, when it comes once."""
AGAIN = Counter(duplicate=21, rejected=1)
"""And when it comes again: no delivery goes uncounted."""
END_SECONDS = 20

each_step = pytest.mark.parametrize("step", STEPS)


def sqs_batch() -> dict:
    """Twenty events, one of them twice, and a message that can't be read: what SQS delivers, again and again."""
    return sqs_event(*(eventbridge(id_).body for id_ in [*IDS, IDS[0]]), poison().body)


def array() -> bytes:
    """The same as an Event Grid array."""
    events = [json.loads(eventgrid(id_).body) for id_ in [*IDS, IDS[0]]]
    return json.dumps([*events, {"data": "no id"}]).encode()


def assert_exact(records, source, step):
    """Nothing is lost or doubled, and the ledger knows how often the batch was taken."""
    assert records.ids(source) == IDS
    assert records.counts() == (ONCE + AGAIN if step.is_committed else ONCE)
    records.assert_exact()


@pytest.fixture
def invoke(database_url, redis_url):
    """A cold Lambda in a process of its own, given the batch."""

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
def test_lambda(step, invoke, records):
    crashed = invoke(step)

    assert crashed.returncode == -signal.SIGKILL, crashed.stderr
    assert records.ids("aws") == (IDS if STEPS[step].is_committed else [])

    survived = invoke()

    assert survived.returncode == 0, survived.stderr
    assert json.loads(survived.stdout.splitlines()[-1]) == {"batchItemFailures": []}
    assert_exact(records, "aws", STEPS[step])


@each_step
def test_api(step, api, records, database_url, redis_url, server_folder):
    with Api(database_url=database_url, redis_url=redis_url, log=server_folder / "crash.log", crash_at=step) as doomed:
        with pytest.raises(ConnectionResetError):
            call(doomed.url, EVENTGRID, array())
        assert doomed.ending(END_SECONDS) == "by SIGKILL"
    assert records.ids("azure") == (IDS if STEPS[step].is_committed else [])

    assert call(api.url, EVENTGRID, array()).status == 200
    assert_exact(records, "azure", STEPS[step])
