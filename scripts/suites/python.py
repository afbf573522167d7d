"""The suite of googleapis/python-pubsub, with the packages that ``suite.lock`` pins."""

import os
import subprocess
from pathlib import Path

from scripts.build.tools import ROOT, install

LOCK = Path(__file__).with_name("suite.lock")


def run(checkout: Path, host: str) -> int:
    """Run the suite with pytest and return its exit status.

    Args:
        checkout: the clone.
        host: the emulator, as PUBSUB_EMULATOR_HOST names it.
    """
    command = [str(install(LOCK) / "python"), "-m", "pytest", "-p", "scripts.suites.pytest_plugin", "tests/system.py"]
    environment = os.environ | {"PUBSUB_EMULATOR_HOST": host, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=checkout, env=environment, check=False).returncode
