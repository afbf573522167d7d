"""The audit: a secret that somebody commits is found, and a registry that gives no answer is told from a good one."""

import json
import stat
import subprocess

import pytest

from scripts import audit
from scripts.tools import install


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
def pip_audit_that_says(tmp_path):
    """A program in the place of pip-audit, with this answer."""

    def make(answer: str):
        program = tmp_path / "pip-audit"
        program.write_text(f"#!/bin/sh\ncat <<'ANSWER'\n{answer}\nANSWER\necho 'no connection' >&2\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return tmp_path

    return make


def test_a_secret_is_found_where_git_keeps_it(programs, repository):
    folder, commit = repository
    commit("deploy.py", 'AWS_KEY = "AKIA' + 'Q3EGRIVDL5JZ7XUW"\n')
    (folder / "ignored.py").write_text('AWS_KEY = "AKIA' + 'Q3EGRIVDL5JZ7XUW"\n')

    assert list(audit.secrets(programs, folder)) == ["deploy.py:1: AWS Access Key"]


def test_a_line_that_is_marked_is_no_secret(programs, repository):
    folder, commit = repository
    commit("deploy.py", 'AWS_KEY = "AKIA' + 'Q3EGRIVDL5JZ7XUW"  # pragma: allowlist secret\n')

    assert list(audit.secrets(programs, folder)) == []


def test_a_scan_of_nothing_is_no_good_answer(programs, repository):
    folder, _ = repository
    with pytest.raises(FileNotFoundError, match="git names no file to look through"):
        list(audit.secrets(programs, folder))


def test_where_git_refuses_to_answer_nothing_was_scanned(programs, tmp_path):
    with pytest.raises(FileNotFoundError, match="not a git repository"):
        list(audit.secrets(programs, tmp_path))


def test_a_vulnerability_is_told_with_its_remedy(pip_audit_that_says):
    package = {"name": "left", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}
    programs = pip_audit_that_says(json.dumps({"dependencies": [package, {"name": "right", "skip_reason": "?"}]}))

    assert list(audit.python_vulnerabilities(programs)) == ["left 1: CVE-1, fixed in 1.1"]


@pytest.mark.parametrize("answer", ["", json.dumps({"dependencies": [{"name": "left", "skip_reason": "not found"}]})])
def test_no_answer_is_not_a_good_answer(pip_audit_that_says, answer):
    with pytest.raises(audit.Unanswered):
        list(audit.python_vulnerabilities(pip_audit_that_says(answer)))
