"""The test runs: none omits a test, a skip fails CI, and no process outlives its worker."""

import json
import shlex
import subprocess
import sys
import textwrap

import pytest
from _pytest.mark.expression import Expression

from helios.processes.process import scrubbed_environment
from local.stack.config import REPOSITORY
from tests.support.processes import wait_until_gone
from tests.support.schedule import APART, BY_PARAMETER, TOGETHER
from tests.support.tiers import MARKERS, SLOW, TIERS

pytestmark = pytest.mark.servers  # runs pytest, and make


def run(*command, **environment):
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env=scrubbed_environment(**environment),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def markers(tmp_path_factory):
    """The markers of every test."""
    file = tmp_path_factory.mktemp("markers") / "markers.json"
    options = ["--collect-only", "-qq", "-p", "tests.support.listing", "--list-markers", file]
    process = run(sys.executable, "-m", "pytest", *map(str, options))
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr
    tests = json.loads(file.read_text())
    by_id = {nodeid: set(names) for nodeid, names in tests}
    assert len(by_id) == len(tests), "two tests share an id, so pytest-xdist would run one of them"
    return by_id


def selected_by(target, markers):
    """The tests that a Makefile target runs."""
    recipe = run("make", "--dry-run", target).stdout.splitlines()
    (words,) = [shlex.split(line) for line in recipe if "-m pytest" in line]
    assert not any(word.startswith("tests") or word == "-k" for word in words)
    expression = Expression.compile(words[words.index("-m", words.index("pytest")) + 1])
    return {nodeid for nodeid, names in markers.items() if expression.evaluate(_known(names))}


def _known(names):
    return lambda name, **_: name in names


def test_every_test_is_in_one_of_the_two_runs_and_only_properties_are_in_both(markers):
    """One run tries a property with few examples, the other one with many."""
    quick, long = selected_by("test", markers), selected_by("test-long", markers)

    assert quick | long == markers.keys()
    assert all("hypothesis" in markers[nodeid] for nodeid in quick & long)


def test_every_test_has_exactly_one_kind(markers):
    kinds = MARKERS.keys() - {SLOW}

    assert {nodeid: names & kinds for nodeid, names in markers.items() if len(names & kinds) != 1} == {}


def test_the_schedule_and_the_tiers_name_existing_files():
    together = [file for files in TOGETHER.values() for file in files]
    folders = [f"tests/{tier.name}" for tier in TIERS]

    missing = [
        path for path in (*folders, *TOGETHER, *together, *APART, *BY_PARAMETER) if not (REPOSITORY / path).exists()
    ]
    assert missing == []


@pytest.fixture
def run_tests(tmp_path):
    """Runs pytest with this suite's plugins on a generated file."""
    file = tmp_path / "tests/unit/test_given.py"
    file.parent.mkdir(parents=True)

    def run_file(text, *options, **environment):
        file.write_text(textwrap.dedent(text))
        command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--rootdir", str(tmp_path), *options]
        return run(*command, str(file), **environment)

    return run_file


SKIPPED = """
    import pytest

    def test_skipped():
        pytest.skip("there is no such thing here")
"""


@pytest.mark.parametrize("options", [[], ["--numprocesses", "1", "--progress"]], ids=["alone", "in workers"])
def test_a_skip_fails_the_run_in_ci(run_tests, options):
    process = run_tests(SKIPPED, *options, CI="true")

    assert process.returncode == 1, process.stdout
    assert "1 skipped" in process.stdout


def test_a_skip_does_not_fail_the_run_outside_ci(run_tests):
    assert run_tests(SKIPPED).returncode == 0


def test_a_process_ends_with_the_killed_worker_that_started_it(run_tests, tmp_path):
    text = f"""
        import os, signal
        from pathlib import Path
        from helios.processes.process import Process

        def test_killed():
            process = Process("sleep", ["sleep", "600"], log=Path({str(tmp_path)!r}) / "log")
            Path({str(tmp_path)!r}, "pid").write_text(str(process.pid))
            os.kill(os.getpid(), signal.SIGKILL)
    """
    result = run_tests(text, "--numprocesses", "1", "--max-worker-restart", "0")

    assert result.returncode == 1, result.stdout
    assert "crashed" in result.stdout
    assert wait_until_gone([int((tmp_path / "pid").read_text())]) == []
