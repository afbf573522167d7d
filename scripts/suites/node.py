"""The suite of googleapis/nodejs-pubsub, with the packages that npm had on the day of the clone's commit."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

NOT_IMITATED: Final = {"pubsub IAM ": "IAM is not imitated", "pubsub schema ": "schemas are not imitated"}
"""The reason by the start of the full names of the cases."""

CASE_MILLISECONDS = 120_000


def run(checkout: Path, host: str) -> int:
    """Install, compile and run the suite, print what was not expected, and return the exit status.

    Args:
        checkout: the clone.
        host: the emulator, as PUBSUB_EMULATOR_HOST names it.

    Raises:
        subprocess.CalledProcessError: the clone can't be installed or compiled; the reason is on standard error.
    """
    for step in (
        # The repository has no lock file. Packages that are newer than the commit do not always fit its types.
        [
            "npm",
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
            f"--before={_day(checkout)}",
        ],
        ["npx", "tsc", "--project", "."],
        ["cp", "-r", "protos", "build/"],
    ):
        subprocess.run(step, cwd=checkout, check=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        subprocess.run(
            [
                *("npx", "mocha", "build/system-test/pubsub.js", "--timeout", str(CASE_MILLISECONDS), "--exit"),
                *("--reporter", "json", "--reporter-option", f"output={report}"),
            ],
            cwd=checkout,
            env=os.environ
            | {"PUBSUB_EMULATOR_HOST": host, "GOOGLE_CLOUD_PROJECT": "suite", "METADATA_SERVER_DETECTION": "none"},
            check=False,
        )
        result = json.loads(report.read_text())
    stats = result["stats"]
    print(f"{stats['passes']} passed, {stats['failures']} failed, {stats['pending']} skipped by the suite")
    findings = list(unexpected(result))
    print("".join(f"  {finding}\n" for finding in findings) or "All that failed is not imitated.")
    return 1 if findings else 0


def unexpected(result: Mapping[str, Any]) -> Iterator[str]:
    """A line for each case that should have ended otherwise.

    Args:
        result: what mocha's reporter ``json`` writes.
    """
    if not result["passes"]:
        yield "no case passed"
    for case in result["failures"]:
        if _reason(case) is None:
            yield f"failed: {case['fullTitle']}: {case['err'].get('message')}"
    for case in result["passes"]:
        if reason := _reason(case):
            yield f"passed, though {reason}: {case['fullTitle']}"


def _reason(case: Mapping[str, Any]) -> str | None:
    """Why the case is expected to fail; None if it is expected to pass."""
    return next((reason for start, reason in NOT_IMITATED.items() if case["fullTitle"].startswith(start)), None)


def _day(checkout: Path) -> str:
    """The time of the clone's last commit."""
    command = ["git", "log", "-1", "--format=%cI"]
    return subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True).stdout.strip()
