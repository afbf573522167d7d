"""Nothing is lost and nothing doubled while parts of Helios fail: the short form of the fault suite, without clouds."""

import subprocess
import sys

import pytest

from local.stack.config import REPOSITORY


@pytest.mark.slow  # one round of every fault
def test_every_promise_is_kept_after_every_fault():
    """The suite exits with 1 if one is broken; ``test_three_clouds`` has the faults of the clouds."""
    suite = subprocess.run(
        [sys.executable, "-m", "scripts.faults", "--short", "--seed", "2"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )

    assert suite.returncode == 0, suite.stdout[-5000:] + suite.stderr[-2000:]
    assert ": 0 lost, 0 stored twice" in suite.stdout
    assert "skipped" not in suite.stdout
