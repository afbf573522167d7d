"""What stands in the way of a start is found before anything starts: a sentence each."""

import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from helios.processes import obstacles
from helios.processes.ports import HOST
from local.demo.clone import node_problem
from local.stack import config

NODE_TOO_OLD = "Node v18.19.0 is too old. Install Node.js 20.19 or newer (nodejs.org), which builds the dashboard.\n"


def start(folder, *options: str, **settings: str) -> tuple[int, str]:
    """The exit code and the output of a demo that can't start."""
    own = {config.variable(field): str(port) for field, port in config.free_port_fields().items()}
    environment = os.environ | own | {config.variable("state"): str(folder)} | settings
    ended = subprocess.run(
        [sys.executable, "-m", "local.demo", *options],
        cwd=config.REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stdout


@pytest.fixture
def node(tmp_path, monkeypatch):
    """Puts a ``node`` that says this version, and an ``npm``, before everything else on the path."""

    def install(version: str) -> str:
        for name in ("node", "npm"):
            program = tmp_path / name
            program.write_text(f"#!/bin/sh\necho {version}\n")
            program.chmod(0o755)
        return str(tmp_path)

    return install


def test_every_taken_port_is_named_at_once(tmp_path):
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(3)]
        fields = ("postgres_port", "kafka_port", "dashboard_port")
        taken = {
            config.variable(field): str(server.getsockname()[1]) for field, server in zip(fields, servers, strict=True)
        }
        code, output = start(tmp_path / "state", **taken)
    assert code == 2
    for variable, port in taken.items():
        assert f"Port {port}, which " in output
        assert f"or set {variable} to another port." in output
    assert output.count("in use by") == 3


def test_a_state_folder_that_can_t_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    code, output = start(tmp_path / "file" / "state")
    assert code == 2
    reason = f"{tmp_path / 'file'} is not a folder"
    assert output == f"local-demo: {reason}. Set HELIOS_LOCAL_STATE to a folder that this user can write.\n"


def test_an_old_node_is_named_before_anything_starts(tmp_path, node):
    """With --reload Node runs even if the dashboard is built."""
    path = f"{node('v18.19.0')}:{os.environ['PATH']}"
    code, output = start(tmp_path / "state", "--reload", "--no-traffic", PATH=path)
    assert code == 2
    assert output == (f"local-demo: {NODE_TOO_OLD}")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("v20.18.9", "Node v20.18.9 is too old. "),
        ("v20.19.0", None),
        ("v24.0.0", None),
        ("nonsense", "node does not say its version. "),
    ],
)
def test_the_version_of_node_is_compared_as_numbers(version, problem, node, monkeypatch):
    monkeypatch.setenv("PATH", node(version))
    found = node_problem()
    assert (found is None) == (problem is None)
    assert (problem or "") in (found or "")


def test_a_missing_node_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert node_problem() == "Node is missing. Install Node.js 20.19 or newer (nodejs.org), which builds the dashboard."


def test_too_little_space_is_a_problem(tmp_path):
    problem = obstacles.space_problem(tmp_path / "new", megabytes=10**9, remedy="buy a disk.")
    assert problem
    assert problem.endswith(f" MB free, and {10**9} MB are needed. Free some space, or buy a disk.")
    assert obstacles.space_problem(tmp_path, megabytes=0, remedy="") is None


@pytest.fixture
def clone(tmp_path):
    """A clone in which nothing is installed or built, with what the first step of ``make local-demo`` needs."""
    folder = tmp_path / "clone"
    for name in ("shared/helios/processes", "local/demo"):
        shutil.copytree(config.REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "shared/helios/__init__.py",
        "local/__init__.py",
        "dashboard/package.json",
        "dashboard/package-lock.json",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(config.REPOSITORY / name, folder / name)
    return folder


def prepare(clone, path: str) -> subprocess.CompletedProcess[str]:
    """Run the first step by the system's Python, which has no packages: ``-S`` hides those of this environment."""
    return subprocess.run(
        [sys.executable, "-S", "-m", "local.demo.clone"],
        cwd=clone,
        env={"PATH": path, "PYTHONPATH": str(clone / "shared")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_clone_is_checked_before_anything_is_installed(clone, node):
    done = prepare(clone, node("v18.19.0"))
    assert (done.returncode, done.stderr) == (2, NODE_TOO_OLD)
    assert not (clone / ".venv").exists()


def test_the_dashboard_is_built_while_the_packages_are_installed(clone, node, tmp_path):
    """This installation ends once the build has begun, or never. Its failure ends the build, and no demo starts."""
    make = tmp_path / "make"
    make.write_text("#!/bin/sh\nuntil [ -s build/dashboard.log ]; do /bin/sleep 0.02; done\nexit 3\n")
    make.chmod(0o755)
    done = prepare(clone, f"{node('v20.19.0')}:/usr/bin:/bin")
    assert (done.returncode, done.stderr) == (3, "")
