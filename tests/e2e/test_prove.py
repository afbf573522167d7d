"""Helios tells the truth: known anomalies in live traffic are reported, each of them and no others."""

import subprocess
import sys

import pytest

from local.stack.config import REPOSITORY

OPTIONS = ["--orders", "60", "--rate", "40", "--error-rate", "0.4", "--seed", "3", "--window", "10", "--grace", "10"]


@pytest.mark.slow  # waits until every window has passed
def test_every_anomaly_is_reported_and_nothing_else():
    """Through restarts of the functions, the API and Redis."""
    proof = subprocess.run(
        [sys.executable, "-m", "scripts.prove", *OPTIONS],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )

    assert proof.returncode == 0, proof.stdout[-3000:] + proof.stderr[-1000:]
    assert "Helios reported all 60 orders correctly" in proof.stdout
