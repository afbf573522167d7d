"""The audit finds committed secrets, and distinguishes a registry without an answer from one without findings."""

import json
import os
import stat
import subprocess

import pytest

from scripts.build import audit
from scripts.build.tools import ROOT, install
from tests.support.processes import wait_until_gone

pytestmark = pytest.mark.servers  # pip-audit, detect-secrets and git


@pytest.fixture(scope="module")
def programs():
    return install(audit.LOCK)


@pytest.fixture
def repository(tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)

    def commit(name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        subprocess.run(["git", "-C", tmp_path, "add", name], check=True)

    return tmp_path, commit


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Makes a stand-in for a program, with this output; it is in the returned folder, which is first on PATH."""

    def make(name: str, answer: str):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{answer}\necho 'no connection' >&2\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        return tmp_path

    return make


def print_answer(answer: str) -> str:
    return f"cat <<'ANSWER'\n{answer}\nANSWER"


def test_a_secret_in_a_tracked_file_is_reported(programs, repository):
    folder, commit = repository
    commit("deploy.py", 'AWS_KEY = "AKIA' + 'Q3EGRIVDL5JZ7XUW"\n')
    (folder / "ignored.py").write_text('AWS_KEY = "AKIA' + 'Q3EGRIVDL5JZ7XUW"\n')

    assert list(audit.secrets(programs, folder)) == ["deploy.py:1: AWS Access Key"]


def test_a_marked_line_is_no_secret(programs, repository):
    folder, commit = repository
    commit("deploy.py", 'AWS_KEY = "AKIA' + 'Q3EGRIVDL5JZ7XUW"  # pragma: allowlist secret\n')

    assert list(audit.secrets(programs, folder)) == []


def test_a_scan_without_files_is_an_error(programs, repository):
    folder, _ = repository
    with pytest.raises(FileNotFoundError, match="git lists no files to scan"):
        list(audit.secrets(programs, folder))


def test_a_scan_outside_a_repository_is_an_error(programs, tmp_path):
    with pytest.raises(FileNotFoundError, match="not a git repository"):
        list(audit.secrets(programs, tmp_path))


def test_every_lock_file_is_audited():
    """Including the lock files of tools and functions, so that a new one can't be forgotten."""
    functions = {f"{path.parent.relative_to(ROOT)}" for path in ROOT.glob("functions/**/requirements.in")}

    assert functions
    assert set(audit.locks()) == {
        "requirements.lock",
        "serve.lock",
        "flink.lock",
        "functions/archive-requirements.txt",
        "functions/traces-requirements.txt",
        "scripts/build/api_lint/generator.lock",
        "scripts/build/audit.lock",
        "scripts/build/wheel.lock",
        "scripts/suites/suite.lock",
        "local/aws/ministack.lock",
        "infra/terraform/checkov.lock",
        "infra/terraform/schemas/provider.lock",
        *(f"{function}/requirements.txt" for function in functions),
    }


def test_a_vulnerability_is_reported_with_its_remedy(stand_in):
    package = {"name": "left", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}
    answer = json.dumps({"dependencies": [package, {"name": "right", "skip_reason": "?"}]})
    programs = stand_in("pip-audit", f'case "$*" in */some.lock) ;; *) exit ;; esac\n{print_answer(answer)}')

    assert list(audit.python_vulnerabilities(programs, "some.lock")) == ["left 1: CVE-1, fixed in 1.1"]


def test_a_vulnerability_of_the_dashboard_is_reported(stand_in):
    """npm exits with 1 when it finds any."""
    report = {"vulnerabilities": {"left-pad": {"severity": "high", "range": "<1.3"}}}
    stand_in("npm", f'test "$*" = "audit --json" || exit\n{print_answer(json.dumps(report))}\nexit 1')

    assert list(audit.npm_vulnerabilities("dashboard")) == ["left-pad: high, in <1.3"]


@pytest.mark.parametrize("answer", ["", json.dumps({"dependencies": [{"name": "left", "skip_reason": "not found"}]})])
def test_a_registry_without_an_answer_is_not_one_without_findings(stand_in, answer):
    with pytest.raises(audit.Unanswered):
        list(audit.python_vulnerabilities(stand_in("pip-audit", print_answer(answer)), "some.lock"))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("", "no connection"), ("{}", "no advisories"), ('{"message": "404 Not Found"}', "404 Not Found")],
)
def test_the_reason_for_no_answer_about_the_dashboard_is_reported(stand_in, answer, reason):
    stand_in("npm", print_answer(answer))
    with pytest.raises(audit.Unanswered, match=reason):
        list(audit.npm_vulnerabilities("dashboard"))


def test_a_registry_that_hangs_is_skipped_by_name_and_leaves_nothing_behind(stand_in, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(audit, "SECONDS", 5)
    monkeypatch.setattr(audit, "locks", lambda: ["some.lock"])
    monkeypatch.setattr(audit, "npm_folders", lambda: ["dashboard"])
    monkeypatch.setattr(audit, "secrets", lambda _: iter(()))
    hang = f"sleep 600 & echo $! >> {tmp_path}/children; wait"
    monkeypatch.setattr(audit, "install", lambda _: stand_in("pip-audit", hang))
    stand_in("npm", hang)

    assert audit.main() == 0
    output = capsys.readouterr().out
    assert "pip-audit some.lock: SKIPPED, no answer within 5 s" in output
    assert "npm audit dashboard: SKIPPED, no answer within 5 s" in output
    children = (tmp_path / "children").read_text().split()
    assert len(children) == 2
    assert wait_until_gone([int(child) for child in children]) == []


def test_a_finding_fails_the_audit(stand_in, monkeypatch):
    monkeypatch.setattr(audit, "locks", list)
    monkeypatch.setattr(audit, "secrets", lambda _: iter(()))
    stand_in("npm", print_answer('{"vulnerabilities": {"left-pad": {"severity": "high", "range": "<1.3"}}}'))

    assert audit.main() == 1
