"""The test runs themselves: none leaves a test out, CI takes a skip for a failure, and nothing outlives its worker."""

import json
import shlex
import subprocess
import sys
import textwrap

import pytest
from _pytest.mark.expression import Expression

from local.stack.config import REPOSITORY
from local.stack.process import scrubbed_environment
from tests.local.processes import wait_until_gone
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
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def markers(tmp_path_factory):
    """The markers of every test that there is."""
    file = tmp_path_factory.mktemp("markers") / "markers.json"
    options = ["--collect-only", "-qq", "-p", "tests.support.listing", "--list-markers", file]
    listed = run(sys.executable, "-m", "pytest", *map(str, options))
    assert listed.returncode == 0, listed.stdout[-2000:] + listed.stderr
    tests = json.loads(file.read_text())
    by_id = {nodeid: set(names) for nodeid, names in tests}
    assert len(by_id) == len(tests), "two tests share an id, so pytest-xdist would run one of them"
    return by_id


def chosen_by(target, markers):
    """The tests that a target of the Makefile runs."""
    recipe = run("make", "--dry-run", target).stdout.splitlines()
    (words,) = [shlex.split(line) for line in recipe if "-m pytest" in line]
    assert not any(word.startswith("tests") or word == "-k" for word in words)
    expression = Expression.compile(words[words.index("-m", words.index("pytest")) + 1])
    return {nodeid for nodeid, names in markers.items() if expression.evaluate(_known(names))}


def _known(names):
    return lambda name, **_: name in names


def test_every_test_is_in_one_of_the_two_runs_and_only_properties_are_in_both(markers):
    """A property is tried with few examples in the one, and with many in the other."""
    quick, long = chosen_by("test", markers), chosen_by("test-long", markers)

    assert quick | long == markers.keys()
    assert all("hypothesis" in markers[nodeid] for nodeid in quick & long)


def test_every_test_is_of_one_kind(markers):
    kinds = MARKERS.keys() - {SLOW}

    assert {nodeid: names & kinds for nodeid, names in markers.items() if len(names & kinds) != 1} == {}


def test_what_the_schedule_and_the_summary_name_is_there():
    excepted = [file for files in TOGETHER.values() for file in files]
    folders = [f"tests/{tier.name}" for tier in TIERS]

    missing = [
        path for path in (*folders, *TOGETHER, *excepted, *APART, *BY_PARAMETER) if not (REPOSITORY / path).exists()
    ]
    assert missing == []


@pytest.fixture
def run_tests(tmp_path):
    """Runs pytest with the plugins of this suite on a file of its own."""
    file = tmp_path / "tests/unit/test_given.py"
    file.parent.mkdir(parents=True)

    def run_these(text, *options, **environment):
        file.write_text(textwrap.dedent(text))
        command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--rootdir", str(tmp_path), *options]
        return run(*command, str(file), **environment)

    return run_these


SKIPPED = """
    import pytest

    def test_skipped():
        pytest.skip("there is no such thing here")
"""


@pytest.mark.parametrize("options", [[], ["--numprocesses", "1", "--progress"]], ids=["alone", "in workers"])
def test_a_skip_is_a_failure_in_ci(run_tests, options):
    ended = run_tests(SKIPPED, *options, CI="true")

    assert ended.returncode == 1, ended.stdout
    assert "1 skipped" in ended.stdout


def test_a_skip_is_none_elsewhere(run_tests):
    assert run_tests(SKIPPED).returncode == 0


def test_what_a_killed_worker_has_started_ends_with_it(run_tests, tmp_path):
    text = f"""
        import os, signal
        from pathlib import Path
        from local.stack.process import Process

        def test_killed():
            process = Process("sleep", ["sleep", "600"], log=Path({str(tmp_path)!r}) / "log")
            Path({str(tmp_path)!r}, "pid").write_text(str(process.pid))
            os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = run_tests(text, "--numprocesses", "1", "--max-worker-restart", "0")

    assert ended.returncode == 1, ended.stdout
    assert "crashed" in ended.stdout
    assert wait_until_gone([int((tmp_path / "pid").read_text())]) == []
