"""The sweep function in a separate process, as on Lambda."""

import json
import os
import subprocess
import sys
from pathlib import Path

from helios.adapters.postgres.partitions import MIN_AHEAD

REPOSITORY = Path(__file__).parents[2]


def test_a_sweep_reports_partitions_and_incidents_in_the_namespace_of_its_deployment(database_url, pool):
    process = subprocess.run(
        [sys.executable, "-m", "tests.support.aws_lambda", "functions.aws.sweep.handler"],
        input="{}",
        cwd=REPOSITORY,
        env=os.environ
        | {
            "HELIOS_DATABASE_URL": database_url,
            "HELIOS_ARCHIVE_URL": "s3://bucket/events",  # another function fills it
            "POWERTOOLS_METRICS_NAMESPACE": "Helios/helios-stage",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    lines = [json.loads(line) for line in process.stdout.splitlines()]
    (metrics,) = [line for line in lines if "_aws" in line]

    assert metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Helios/helios-stage"
    assert metrics["service"] == "sweep"
    assert metrics["partitions_ahead"][0] >= MIN_AHEAD
    assert metrics["serious_incidents"] == metrics["failing_notifications"] == [0.0]
    assert metrics["archive_silent_seconds"][0] > 0
