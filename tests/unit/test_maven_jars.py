"""The installation of jars accepts the locked files and no others, and names what is missing."""

import pytest

from helios.processes.process import ServiceFailed
from local.servers import maven as maven_jars
from local.servers.maven import Jars

pytestmark = pytest.mark.servers  # runs programs


@pytest.fixture
def jars(tmp_path) -> Jars:
    """Apache Kafka, with the lock file of the test."""
    folder = tmp_path / "apache_kafka"
    folder.mkdir()
    return Jars("Apache Kafka", folder, oldest_java=17)


@pytest.fixture
def maven(tmp_path, monkeypatch):
    """A Maven that copies a file with the given content, and an empty folder of installed tools."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setattr(maven_jars, "_TOOLS", tmp_path / "tools")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    _program(programs / "java", "echo 'openjdk version \"21.0.1\"' >&2")

    def write(content, *, status=0):
        copy = 'for last; do case "$last" in -DoutputDirectory=*) folder="${last#*=}";; esac; done\nmkdir -p "$folder"'
        _program(
            programs / "mvn", f'{copy}\nprintf "{content}" > "$folder/a.jar"\necho "[ERROR] no a.jar"\nexit {status}'
        )
        return programs

    return write


def _program(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


LOCKED = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a.jar\n"
"""The SHA-256 of ``abc`` (FIPS 180-4, example)."""


def test_the_locked_files_are_installed_once(jars, maven, tmp_path):
    (tmp_path / "apache_kafka/jars.sha256").write_text(LOCKED)
    programs = maven("abc")
    folder = jars.install()

    assert [file.name for file in folder.iterdir()] == ["a.jar"]
    (programs / "mvn").unlink()
    assert jars.install() == folder


@pytest.mark.parametrize("lock", [LOCKED, "", LOCKED + LOCKED.replace("a.jar", "b.jar")])
def test_a_file_that_differs_from_the_lock_is_not_installed(jars, maven, tmp_path, lock):
    (tmp_path / "apache_kafka/jars.sha256").write_text(lock)
    maven("abd" if lock == LOCKED else "abc")

    with pytest.raises(ServiceFailed, match=r"differ from jars\.sha256: [ab]\.jar"):
        jars.install()
    assert jars.missing() is None
    assert list((tmp_path / "tools").glob("apache-kafka-*")) == []


def test_a_failure_of_maven_is_reported_with_its_last_lines(jars, maven, tmp_path):
    (tmp_path / "apache_kafka/jars.sha256").write_text(LOCKED)
    maven("abc", status=1)

    with pytest.raises(ServiceFailed, match=r"could not fetch Apache Kafka:\n\[ERROR\] no a.jar"):
        jars.install()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "java is not on PATH"),
        ("echo 'openjdk version \"11.0.2\" 2019' >&2", 'java is openjdk version "11.0.2" 2019'),
        ("echo 'openjdk version \"17.0.15\"' >&2", "mvn is not on PATH"),
    ],
)
def test_what_is_missing_is_named(jars, maven, tmp_path, monkeypatch, script, reason):
    (tmp_path / "apache_kafka/jars.sha256").write_text(LOCKED)
    programs = tmp_path / "programs"
    monkeypatch.setenv("PATH", str(programs))
    (programs / "java").unlink()
    if script:
        _program(programs / "java", script)

    assert reason in (jars.missing() or "")
    with pytest.raises(ServiceFailed, match="Apache Kafka"):
        jars.install()
