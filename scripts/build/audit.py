"""``python -m scripts.build.audit`` (``make audit``): known vulnerabilities, and secrets in the tracked files.

Exits with 1 if there is a finding. A check without an answer, such as from a registry without advisories, is reported
as skipped: it must not be read as a check without findings.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from scripts.build.tools import ROOT, install

LOCK = Path(__file__).with_suffix(".lock")
SECONDS = 300

NO_SECRETS = (
    r"\.lock$|package-lock\.json$|requirements\.txt$|^tests/payloads/|^infra/terraform/schemas/|\.tftest\.hcl$"
    r"|^dashboard/(openapi\.json|src/api/schema\.d\.ts)$"
)
"""Files with hashes, ids and examples that look like secrets, in which a comment can't mark them as false positives."""


class Unanswered(Exception):  # noqa: N818 - reads as the fact it is
    """The tool or registry gave no answer."""


def main() -> int:
    """Run every check and return the exit status."""
    programs = install(LOCK)
    checks: dict[str, Callable[[], Iterator[str]]] = {
        **{f"pip-audit {lock}": partial(python_vulnerabilities, programs, lock) for lock in locks()},
        "npm audit": npm_vulnerabilities,
        "detect-secrets": partial(secrets, programs),
    }
    failed = False
    for name, check in checks.items():
        try:
            findings = list(check())
        except Unanswered as error:
            print(f"{name}: SKIPPED, {error}")
            continue
        failed |= bool(findings)
        print(f"{name}: {len(findings)} found")
        for finding in findings:
            print(f"  {finding}")
    return int(failed)


def locks() -> list[str]:
    """Every tracked file that pins Python packages."""
    return _run(["git", "ls-files", "*.lock", "*requirements.txt"]).stdout.splitlines()


def python_vulnerabilities(programs: Path, lock: str) -> Iterator[str]:
    """The known vulnerabilities of the packages in a lock file.

    Raises:
        Unanswered: the registry has no advisories for any of the packages.
    """
    options = ["--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json", "--requirement"]
    result = _run([programs / "pip-audit", *options, ROOT / lock])
    try:
        packages = json.loads(result.stdout)["dependencies"]
    except ValueError as error:
        raise Unanswered(_last_line(result.stderr)) from error
    if all("skip_reason" in package for package in packages):
        raise Unanswered("the registry has no advisories")
    for package in packages:
        for vulnerability in package.get("vulns", []):
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            yield f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}"


def npm_vulnerabilities() -> Iterator[str]:
    """The known vulnerabilities of the packages in the dashboard's lock file.

    Raises:
        Unanswered: the registry has no answer.
    """
    result = _run(["npm", "audit", "--json"], folder=ROOT / "dashboard")
    try:
        report: dict[str, Any] = json.loads(result.stdout)
    except ValueError as error:
        raise Unanswered(_last_line(result.stderr)) from error
    if "vulnerabilities" not in report:
        raise Unanswered(report.get("message") or "the registry has no advisories")
    for name, vulnerability in report["vulnerabilities"].items():
        yield f"{name}: {vulnerability['severity']}, in {vulnerability['range']}"


def secrets(programs: Path, folder: Path = ROOT) -> Iterator[str]:
    """Strings that look like secrets in the tracked files, without lines that are marked as false positives.

    Raises:
        FileNotFoundError: the folder is not a git repository, or has no tracked files.
    """
    listed = _run(["git", "ls-files"], folder=folder)
    files = listed.stdout.splitlines()
    if listed.returncode or not files:
        raise FileNotFoundError(f"{folder}: git lists no files to scan: {listed.stderr.strip()}")
    # Without the plugin that matches names: the named secrets of this repository belong to emulators and tests.
    options = ["--disable-plugin", "KeywordDetector", "--exclude-files", NO_SECRETS]
    result = _run([programs / "detect-secrets", "scan", *options, *files], folder=folder)
    for file, suspects in json.loads(result.stdout)["results"].items():
        for suspect in suspects:
            yield f"{file}:{suspect['line_number']}: {suspect['type']}"


def _run(command: "list[str | Path]", *, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """The result of a command.

    Raises:
        Unanswered: the command did not end in time; it was killed with all its children.
    """
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            raise Unanswered(f"no answer within {SECONDS} s") from error
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2] or "no output"


if __name__ == "__main__":
    sys.exit(main())
