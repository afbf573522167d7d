"""Helios reports every known anomaly in live traffic, and no other."""

import subprocess
import sys

import pytest

from local.stack.config import REPOSITORY

# With this seed every kind of anomaly occurs. The rate leaves time for three restarts on a busy machine.
TRAFFIC = ["--orders", "60", "--rate", "2", "--error-rate", "0.4", "--varied", "0.4", "--seed", "30"]
OPTIONS = [*TRAFFIC, "--window", "10", "--grace", "10"]


@pytest.mark.slow  # waits until every window has passed
def test_every_injected_anomaly_is_reported_and_no_other():
    """The functions, the API and Redis are restarted during the traffic."""
    proof = subprocess.run(
        [sys.executable, "-m", "scripts.prove", *OPTIONS],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert proof.returncode == 0, proof.stdout[-3000:] + proof.stderr[-1000:]
    assert "Helios reported all 60 orders correctly" in proof.stdout
