"""Runs the dashboard's unit tests with vitest, as one test of this suite."""

import shutil
import subprocess

import pytest

from local.stack.config import REPOSITORY


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_the_unit_tests_of_the_dashboard_pass():
    vitest = subprocess.run(
        ["npm", "test", "--silent"],
        cwd=REPOSITORY / "dashboard",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert vitest.returncode == 0, vitest.stdout[-10_000:] + vitest.stderr[-2000:]
