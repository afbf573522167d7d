"""The image of ``helios serve``, checked without a container engine: its stages, its user, its files, its command."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from helios.__main__ import parser
from tests.support.api import ROOT

TEXT = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = [
    (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1])
    for line in re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    if line.strip()
]


def values(name: str) -> list[str]:
    return [value for instruction, value in INSTRUCTIONS if instruction == name]


def last_stage() -> list[tuple[str, str]]:
    start = max(number for number, (instruction, _) in enumerate(INSTRUCTIONS) if instruction == "FROM")
    return INSTRUCTIONS[start:]


def is_ignored(path: str) -> bool:
    """Whether .dockerignore keeps a file out of the build: the last pattern that matches decides."""
    ignored = False
    for pattern in (ROOT / ".dockerignore").read_text().split():
        name = pattern.removeprefix("!")
        if name in {"*", path} or path.startswith(f"{name}/") or Path(path).match(name):
            ignored = not pattern.startswith("!")
    return ignored


def test_it_is_built_in_stages_and_the_last_one_has_neither_node_nor_sources():
    assert [value.partition(" AS ")[2] for value in values("FROM")] == ["dashboard", "wheel", ""]
    copied = [value for instruction, value in last_stage() if instruction == "COPY"]
    assert copied == ["--from=wheel /opt/helios /opt/helios"]


def test_the_program_runs_as_a_numbered_user_that_is_not_root():
    (user,) = [value for instruction, value in last_stage() if instruction == "USER"]
    assert int(user) > 0
    assert f"useradd --uid {user} " in TEXT


def test_the_base_images_are_those_of_the_compose_file():
    images = dict(re.findall(r"^(\w+_IMAGE)=(.+)$", (ROOT / "local" / "images.env").read_text(), re.MULTILINE))
    declared = dict(value.split("=") for value in values("ARG"))
    assert declared == {name: images[name] for name in ("PYTHON_IMAGE", "NODE_IMAGE")}


@pytest.mark.parametrize("value", [value for value in values("COPY") if not value.startswith("--from")])
def test_every_copied_file_is_in_the_repository_and_in_the_context(value):
    *sources, _ = value.split()
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not is_ignored(source.rstrip("/")), source


def test_every_installation_is_pinned_by_hashes():
    installs = re.findall(r"pip install ([^&\n]+)", TEXT)
    assert installs
    assert all("--require-hashes" in install or install.strip().endswith("/wheels/*.whl") for install in installs)


def test_it_has_the_packages_of_the_archive_of_kafka_and_of_notifications():
    """`helios serve` archives, forwards and notifies as soon as a setting asks for it."""
    locked = re.findall(r"(?m)^([\w-]+)==", (ROOT / "serve.lock").read_text())
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = [requirement for name in ("archive", "kafka", "notify") for requirement in extras[name]]
    assert {re.split(r"[^\w-]", requirement)[0] for requirement in wanted} <= set(locked)


def test_the_health_check_asks_whether_events_can_be_stored():
    (check,) = values("HEALTHCHECK")
    program = json.loads(check.partition(" CMD ")[2])
    compile(program[2], "HEALTHCHECK", "exec")
    assert "/api/v1/health/detailed" in program[2]
    assert f":{values('EXPOSE')[0]}/" in program[2]


def test_its_command_is_one_of_helios():
    (program, arguments) = (json.loads(values(name)[0]) for name in ("ENTRYPOINT", "CMD"))
    options = parser().parse_args(arguments)
    assert program == ["helios"]
    assert (options.host, str(options.port), options.log_to) == ("0.0.0.0", values("EXPOSE")[0], "stderr")
    assert str(options.data) == values("VOLUME")[0]
