"""The wheel in an empty environment, with nothing but Python: one ``pip install``, then ``helios serve``."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import scrubbed_environment
from helios.processes.server import Command
from tests.support.api import ROOT
from tests.support.client import EVENTBRIDGE, call
from tests.support.deliveries import eventbridge
from tests.support.printed_commands import fenced_lines

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
"""The versions that Helios supports. CI has a job for each of them; a test here runs on those of this machine."""


def interpreters() -> dict[str, str]:
    """The path of Python by version, for each supported version that this machine has."""
    found = {".".join(map(str, sys.version_info[:2])): sys.executable}
    installed = sorted(Path.home().glob(".pyenv/versions/*/bin/python3"))
    for candidate in [*(shutil.which(f"python{version}") for version in VERSIONS), *map(str, installed)]:
        if candidate:
            answer = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
            version = re.match(r"Python (3\.\d+)\.", answer.stdout)  # a shim of pyenv may have nothing to run
            if version and version[1] in VERSIONS:
                found.setdefault(version[1], candidate)
    return found


INTERPRETERS = interpreters()


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Build the wheel of a source tree."""
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    options = ["--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(target)]
    command = [str(uv), "build", *options, str(source)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    built = build(ROOT, target)
    assert built.returncode == 0, built.stderr
    return next(target.glob("*.whl"))


@pytest.fixture
def data() -> Iterator[Path]:
    """An empty folder that root's Postgres, which runs as another user, can reach."""
    path = Path(tempfile.mkdtemp(prefix="helios-wheel-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.slow
@pytest.mark.parametrize("version", INTERPRETERS)
def test_an_installed_wheel_serves_the_api_and_the_dashboard(version, wheel, data, tmp_path):
    """Without Node, and without any other program: nothing but the environment is on the path."""
    programs = tmp_path / "venv" / "bin"
    subprocess.run([INTERPRETERS[version], "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    subprocess.run([programs / "pip", "install", "--quiet", wheel], check=True, timeout=600)
    port = free_port()
    serve = Command(
        "serve",
        [programs / "helios", "serve", "--data", str(data / "helios"), "--port", str(port)],
        env=scrubbed_environment() | {"PATH": str(programs), "HOME": str(tmp_path)},
        ready=answers(f"http://{HOST}:{port}/api/v1/health"),
        log=tmp_path / "serve.log",
        start_seconds=120,
        stop_seconds=60,
    )
    url = f"http://localhost:{port}"
    with serve:
        assert call(url, EVENTBRIDGE, eventbridge("first").body).status == 202
        assert [event["id"] for event in call(url, "/api/v1/events").body["items"]] == ["first"]
        with urllib.request.urlopen(url, timeout=30) as page:
            assert b'<div id="root">' in page.read()
        listed = subprocess.run(
            [programs / "helios", "events", "--url", url, "--json"], capture_output=True, check=True, timeout=60
        )
        assert b'"first"' in listed.stdout


@pytest.mark.slow
def test_the_archive_is_an_extra_of_the_wheel(wheel, tmp_path):
    """As docs/archive.md prints it, in a folder with the wheel in ``dist``."""
    (install,) = [line for line in fenced_lines(ROOT / "docs" / "archive.md", {"bash"}) if line.startswith("pip ")]
    (tmp_path / "dist").mkdir()
    shutil.copy(wheel, tmp_path / "dist")
    programs = tmp_path / "venv" / "bin"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    environment = scrubbed_environment() | {"PATH": f"{programs}:{os.environ['PATH']}"}

    subprocess.run(["bash", "-c", f"{install} --quiet"], cwd=tmp_path, env=environment, check=True, timeout=600)

    answer = subprocess.run(
        [programs / "helios", "archive", "list"],
        env=environment | {"HELIOS_DATABASE_URL": "postgresql://127.0.0.1:1/x", "HELIOS_ARCHIVE_URL": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "requires the packages" not in answer.stderr
    assert "127.0.0.1" in answer.stderr  # it gets as far as the database, which does not run


def test_a_wheel_without_a_dashboard_is_not_built(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "shared", source / "shared", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    built = build(source, tmp_path)
    assert built.returncode != 0
    assert "contains no built dashboard, which the wheel of Helios contains. Run `make wheel`." in built.stderr
    assert list(tmp_path.glob("*.whl")) == []


def test_the_demo_of_an_installed_wheel_says_that_it_needs_a_clone(wheel, tmp_path):
    """The files of the wheel without its dependencies' installation: their packages are those of this environment."""
    shutil.unpack_archive(wheel, tmp_path / "unpacked", "zip")
    ended = subprocess.run(
        [sys.executable, "-m", "helios", "demo"],
        cwd=tmp_path,
        env=scrubbed_environment() | {"PYTHONPATH": str(tmp_path / "unpacked")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("helios: The demo needs a clone of the repository")
    assert os.linesep not in ended.stderr.strip()
