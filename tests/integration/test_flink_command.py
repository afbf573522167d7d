"""``helios flink``: finds the environment of the job, says what is missing, and hands over all options."""

import json
import os
import sys
from pathlib import Path

import pytest

from helios.__main__ import main, parser
from helios.cli import flink
from helios.flink.__main__ import parser as job_parser
from helios.flink.command import arguments_of
from helios.processes.preflight import CannotStart

CHECKPOINTS = ("--checkpoints", "file:///checkpoints")


@pytest.fixture(autouse=True)
def program_folder(tmp_path, monkeypatch) -> Path:
    """The only folder on PATH: it has Java 17."""
    folder = tmp_path / "programs"
    program(folder / "java", "echo 'openjdk version \"17.0.9\" 2023-10-17' >&2")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return folder


def program(file: Path, script: str) -> Path:
    """A program in the shell."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o700)
    return file


def environment(folder: Path, *, version: tuple[int, int] = (3, 11), **has: bool) -> Path:
    """An environment whose Python describes itself like this."""
    described = {
        "version": version,
        "packages": f"{folder}/packages",
        "has": {"pyflink": True, "msgspec": True, "helios": True} | has,
    }
    program(folder / "bin" / "python", f"echo '{json.dumps(described)}'")
    return folder


def start(folder: Path, *more: str) -> flink.Start:
    return flink.prepare(parser().parse_args(["flink", "submit", "--environment", str(folder), *CHECKPOINTS, *more]))


def test_the_job_starts_in_its_environment_with_the_same_options(tmp_path):
    folder = environment(tmp_path / "job")
    more = ["--parallelism", "3", "--from", "latest", "--jar", "a.jar", "--jar", "b.jar", "--jobmanager", "flink:8081"]
    started = start(folder, *more)
    assert started.arguments[:3] == [str(folder / "bin/python"), "-m", "helios.flink"]
    expected = job_parser().parse_args(["submit", *CHECKPOINTS, *more])
    assert job_parser().parse_args(started.arguments[3:]) == expected
    packages, *others = started.variables["PYTHONPATH"].split(os.pathsep)
    assert packages == f"{folder}/packages"
    assert not [path for path in others if path.endswith("-packages")]


@pytest.mark.parametrize("action", ["run", "submit"])
def test_the_arguments_of_options_are_those_that_were_parsed(action, tmp_path):
    arguments = [
        *(action, *CHECKPOINTS, "--interval-ms", "500", "--parallelism", "2", "--from", "s3://bucket/savepoint"),
        *("--python", "/opt/python", "--jar", "a.jar", "--kafka-properties", str(tmp_path / "properties")),
    ]
    options = job_parser().parse_args(arguments)
    assert job_parser().parse_args(arguments_of(options)) == options


def test_an_environment_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(CannotStart, match=r"needs a Python environment of its own, and \S+/absent has none"):
        start(tmp_path / "absent")


@pytest.mark.parametrize(
    ("described", "sentence"),
    [
        ({"version": (3, 13)}, r"needs Python 3\.11 or 3\.12, and \S+ has 3\.13\."),
        ({"pyflink": False}, r"lacks pyflink\. Install them: "),
        ({"pyflink": False, "msgspec": False}, r"lacks pyflink and msgspec\."),
        ({"helios": False}, r"lacks Helios\. Install it: "),
    ],
)
def test_what_an_environment_lacks_is_said_in_one_sentence(described, sentence, tmp_path):
    with pytest.raises(CannotStart, match=sentence) as error:
        start(environment(tmp_path / "job", **described))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("java", "sentence"),
    [(None, "java is not on PATH"), ("echo 'openjdk version \"11.0.2\"' >&2", r'java is openjdk version "11\.0\.2"')],
)
def test_java_is_checked_before_the_job_starts(java, sentence, tmp_path, program_folder):
    (program_folder / "java").unlink()
    if java:
        program(program_folder / "java", java)
    with pytest.raises(CannotStart, match=rf"Apache Flink needs Java 17 or newer: .*{sentence}"):
        start(environment(tmp_path / "job"))


def test_the_command_line_prints_the_reason_and_ends_with_2(tmp_path, capsys):
    assert main(["flink", "run", "--environment", str(tmp_path), *CHECKPOINTS]) == 2
    assert "needs a Python environment of its own" in capsys.readouterr().err


def test_this_environment_is_described_as_it_is():
    described = flink._describe(Path(sys.executable))
    assert described
    assert described.version == sys.version_info[:2]
    assert described.has["helios"]
    assert described.has["msgspec"]
