"""``python -m scripts.build.audit``, also ``make audit``: known vulnerabilities, and secrets in what git keeps.

Exits with 1 if anything was found. A question that nobody answers (a registry without advisories) is skipped by name:
it says nothing about Helios, and must not be read as if it did.
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
"""Files full of hashes, ids and examples that look like secrets, and without a place to say that they are none."""


class Unanswered(Exception):  # noqa: N818 - reads as the fact it is
    """Who was asked has no answer."""


def main() -> int:
    """Ask every question, and return the exit status."""
    programs = install(LOCK)
    questions: dict[str, Callable[[], Iterator[str]]] = {
        **{f"pip-audit {lock}": partial(python_vulnerabilities, programs, lock) for lock in locks()},
        "npm audit": npm_vulnerabilities,
        "detect-secrets": partial(secrets, programs),
    }
    found = False
    for name, question in questions.items():
        try:
            answers = list(question())
        except Unanswered as error:
            print(f"{name}: SKIPPED, {error}")
            continue
        found |= bool(answers)
        print(f"{name}: {len(answers)} found")
        for answer in answers:
            print(f"  {answer}")
    return int(found)


def locks() -> list[str]:
    """Every file that pins Python packages, whatever they are for."""
    return _run(["git", "ls-files", "*.lock", "*requirements.txt"]).stdout.splitlines()


def python_vulnerabilities(programs: Path, lock: str) -> Iterator[str]:
    """The known vulnerabilities of what a lock file pins.

    Raises:
        Unanswered: the registry knows nothing of any of it.
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
    """The known vulnerabilities of what the dashboard's lock file pins.

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
    """What looks like a secret in the files that git keeps there, but for lines marked as none."""
    listed = _run(["git", "ls-files"], folder=folder)
    files = listed.stdout.splitlines()
    if listed.returncode or not files:
        raise FileNotFoundError(f"{folder}: git names no file to look through: {listed.stderr.strip()}")
    # Without the plugin that guesses by names: whatever is called a secret here is an emulator's, or a test's.
    options = ["--disable-plugin", "KeywordDetector", "--exclude-files", NO_SECRETS]
    result = _run([programs / "detect-secrets", "scan", *options, *files], folder=folder)
    for file, suspects in json.loads(result.stdout)["results"].items():
        for suspect in suspects:
            yield f"{file}:{suspect['line_number']}: {suspect['type']}"


def _run(command: "list[str | Path]", *, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Raises Unanswered when it takes too long; then it is ended with all that it has started."""
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            said, complained = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            raise Unanswered(f"it gave no answer within {SECONDS} s") from error
    return subprocess.CompletedProcess(command, process.returncode, said, complained)


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2] or "it said nothing"


if __name__ == "__main__":
    sys.exit(main())
