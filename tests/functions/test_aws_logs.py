"""Every Lambda with Powertools writes the core's log lines as JSON."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.api import ROOT

LAMBDAS = {
    "archive": "helios-archive",
    "ingest": "helios-ingest",
    "relay": "helios-relay",
    "replay": "helios-replay",
    "sweep": "helios-sweep",
    "websocket": "helios-websocket",
}
WARN = """
import logging
import functions.aws.{name}.handler
logging.getLogger("helios.notify").warning("failed", extra={{"error": "away"}})
"""


@pytest.mark.parametrize("name", LAMBDAS)
def test_a_warning_of_the_core_is_json_with_the_service(name):
    """The handler runs in a separate process, as on Lambda. Its import opens no connection."""
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_DEFAULT_REGION": "eu-central-1",
        "HELIOS_DATABASE_URL": "postgresql://127.0.0.1:1/none",
        "HELIOS_REDIS_URL": "redis://127.0.0.1:1/0",
        "HELIOS_ARCHIVE_URL": "s3://bucket/events",
        "HELIOS_WEBSOCKET_ENDPOINT": "https://live.example/live",
    }
    process = subprocess.run(
        [sys.executable, "-c", WARN.format(name=name)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [json.loads(line) for line in (process.stdout + process.stderr).splitlines()]
    (line,) = [line for line in lines if line["message"] == "failed"]

    assert (line["level"], line["service"], line["error"]) == ("WARNING", LAMBDAS[name], "away")
