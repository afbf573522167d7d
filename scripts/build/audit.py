"""``python -m scripts.build.audit`` (``make audit``): known vulnerabilities, unpinned packages, and secrets.

Exits with 1 if there is a finding. A check without an answer, such as from a registry without advisories, is reported
as skipped: it must not be read as a check without findings.
"""

import json
import os
import re
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
    r"|^dashboard/(openapi\.json|src/api/schema\.d\.ts)$|^docs/asyncapi\.json$"
)
"""Files with hashes, ids and examples that look like secrets, in which a comment can't mark them as false positives."""


_PYTHON_PIN = re.compile(r"[A-Za-z0-9._-]+==[^\s;]+( ; [^\\]+)?( --hash=sha256:[0-9a-f]{64})+")
_INTEGRITY = re.compile(r"sha512-[A-Za-z0-9+/]{86}==")


class Unanswered(Exception):  # noqa: N818 - reads as the fact it is
    """The tool or registry gave no answer."""


def main() -> int:
    """Run every check and return the exit status."""
    programs = install(LOCK)
    checks: dict[str, Callable[[], Iterator[str]]] = {
        **{f"pip-audit {lock}": partial(python_vulnerabilities, programs, lock) for lock in locks()},
        **{f"npm audit {folder}": partial(npm_vulnerabilities, folder) for folder in npm_folders()},
        "hashes of locked packages": unpinned_packages,
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


def npm_folders() -> list[str]:
    """The folder of every tracked lock file of npm."""
    files = _run(["git", "ls-files", "*package-lock.json"]).stdout.splitlines()
    return [str(Path(file).parent) for file in files]


def npm_vulnerabilities(folder: str) -> Iterator[str]:
    """The known vulnerabilities of the packages in a folder's lock file of npm.

    Raises:
        Unanswered: the registry has no answer.
    """
    result = _run(["npm", "audit", "--json"], folder=ROOT / folder)
    try:
        report: dict[str, Any] = json.loads(result.stdout)
    except ValueError as error:
        raise Unanswered(_last_line(result.stderr)) from error
    if "vulnerabilities" not in report:
        raise Unanswered(report.get("message") or "the registry has no advisories")
    for name, vulnerability in report["vulnerabilities"].items():
        yield f"{name}: {vulnerability['severity']}, in {vulnerability['range']}"


def unpinned_packages(folder: Path = ROOT) -> Iterator[str]:
    """The entries of lock files that an installer would accept with another content, or from a named registry.

    An installer checks nothing of a package without a hash. A registry's host in a lock file decides where every other
    machine downloads from.

    Raises:
        FileNotFoundError: the folder is not a git repository, or tracks no lock files.
    """
    listed = _run(["git", "ls-files", "*.lock", "*requirements.txt", "*package-lock.json"], folder=folder)
    files = listed.stdout.splitlines()
    if listed.returncode or not files:
        raise FileNotFoundError(f"{folder}: git lists no lock files: {listed.stderr.strip()}")
    for file in files:
        text = (folder / file).read_text(encoding="utf-8")
        entries = _npm_entries(text) if file.endswith(".json") else _python_entries(text)
        for entry in entries:
            yield f"{file}: {entry}"


def _npm_entries(text: str) -> Iterator[str]:
    for name, package in json.loads(text)["packages"].items():
        is_installed = name and not package.get("link")  # the entry without a name is the dashboard itself
        if is_installed and not package.get("inBundle") and not _INTEGRITY.fullmatch(package.get("integrity", "")):
            yield f"{name} has no SHA-512"
        if "resolved" in package:
            yield f"{name} names a registry"


def _python_entries(text: str) -> Iterator[str]:
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    for line in filter(None, (line.partition("#")[0].strip() for line in joined.splitlines())):
        if "://" in line or line.startswith("-"):
            yield f"{line.split(' --hash')[0]} names a registry, a URL or another file"
        elif not _PYTHON_PIN.fullmatch(line):
            yield f"{line.split(' --hash')[0]} has no exact version with a SHA-256"


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
