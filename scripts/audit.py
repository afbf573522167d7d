"""``python -m scripts.audit``, also ``make audit``: known vulnerabilities, and secrets in what git keeps.

Exits with 1 if anything was found. A question that nobody answers (a registry without advisories) is skipped by name:
it says nothing about Helios, and must not be read as if it did.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scripts.tools import ROOT, install

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
        "pip-audit": lambda: python_vulnerabilities(programs),
        "npm audit": npm_vulnerabilities,
        "detect-secrets": lambda: secrets(programs),
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


def python_vulnerabilities(programs: Path) -> Iterator[str]:
    """The known vulnerabilities of what requirements.lock pins.

    Raises:
        Unanswered: the registry knows nothing of any of it.
    """
    options = ["--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json", "--requirement"]
    result = _run([programs / "pip-audit", *options, ROOT / "requirements.lock"])
    try:
        packages = json.loads(result.stdout)["dependencies"]
    except ValueError as error:
        raise Unanswered(result.stderr.strip().splitlines()[-1]) from error
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
    report: dict[str, Any] = json.loads(result.stdout or "{}")
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
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)


if __name__ == "__main__":
    sys.exit(main())
