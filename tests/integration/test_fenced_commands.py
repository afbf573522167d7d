"""Every line of a shell that a document prints in a code block works as it is printed, in an unprepared shell.

``test_printed_commands`` runs the lines of the command line ``helios``. This module runs the others that can run here,
and names the reason for each that can't.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable

import pytest

from helios.processes.ports import free_port
from helios.processes.probes import accepts
from helios.processes.process import Process, scrubbed_environment
from tests.support.api import ROOT
from tests.support.printed_commands import fenced_lines, printed_commands

_TRACKED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
DOCUMENTS = [ROOT / name for name in _TRACKED.stdout.split()]
_EMULATORS = ROOT / "local" / "emulators"
OF_EMULATORS = {
    document.parent.name: lines
    for document in DOCUMENTS
    if _EMULATORS in document.parents and (lines := fenced_lines(document, {"bash"}))
}
"""The lines of each emulator's document: the first one starts it."""

LINES = {
    f"{document.relative_to(ROOT)}: {line}": line
    for document in DOCUMENTS
    if _EMULATORS not in document.parents
    for line in fenced_lines(document, {"bash"})
}

NOT_RUN = {
    r"python3 -m venv helios-env": "test_wheel.py runs these three",
    r"helios-env/bin/pip install dist/\*\.whl": "test_wheel.py runs these three",
    r"helios-env/bin/helios serve": "test_wheel.py runs these three",
    r"(export )?[A-Z_]+=(\"[^\"]*\"|\S+)( [A-Z_]+=\S+)*": "an assignment, with a placeholder",
    r"pip install \"\$\(ls dist/helios-\*\.whl\)\[archive\]\"": "test_wheel.py runs it",
    r"helios serve": "test_serve.py runs it",
    r"python3\.11 -m venv flink && flink/bin/pip install .*": "make flink does the same",
    r"flink/bin/pip install --no-deps helios-\*\.whl": "needs a wheel and that environment",
    r"curl .* http://flink:8081/.*": "needs a Flink cluster: the tests of Flink stop a job by this request",
}
"""Lines that no test here runs, each with the reason."""

PRINTED_DATABASE = "postgresql://127.0.0.1/helios"

MAKE, MODULE, CURL = "make", "module", "curl"

_OWN = re.compile(r"^(\w+=\S+ |\w+=\$\(.*?\)\s+)*(\.venv/bin/)?helios ")
_MODULE = re.compile(r"(?:\w+=\S+\s+)*(?P<python>\.venv/bin/python|python3?) -m (?P<module>\S+)(?P<arguments>.*)")

_BARE_PYTHON = re.compile(r"(?<![\w/.-])python3? -m (?!venv)")
_PORT = re.compile(r"(?<=port )\d{4,5}|(?<=127\.0\.0\.1:)\d{4,5}")


def kind(line: str) -> str | None:
    """How a test runs a line; None: another module does, or the reason why none does is in ``NOT_RUN``."""
    if any(re.fullmatch(pattern, line) for pattern in NOT_RUN) or _OWN.match(line):
        return None
    if re.match(r"make( |$)", line):
        return MAKE
    if line.startswith("curl "):
        return CURL
    if _MODULE.fullmatch(line):
        return MODULE
    raise AssertionError(f"no test runs this line: say how, or why not, in {__name__}: {line}")


def of(wanted: str) -> dict[str, str]:
    return {name: line for name, line in LINES.items() if kind(line) == wanted}


def test_lines_of_every_kind_are_found():
    assert min(len(of(wanted)) for wanted in (MAKE, MODULE, CURL)) > 0


def test_every_reason_belongs_to_a_line():
    unused = [pattern for pattern in NOT_RUN if not any(re.fullmatch(pattern, line) for line in LINES.values())]
    assert unused == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_document_prints_a_python_that_lacks_helios(document):
    """``python`` is missing on Debian, and ``python3`` is the system's, without Helios."""
    assert _BARE_PYTHON.findall(document.read_text()) == []


@pytest.mark.parametrize("name", of(MAKE))
def test_make_knows_the_target(name):
    """Without running it: CI runs the targets themselves."""
    arguments = shlex.split(LINES[name], comments=True)[1:]
    command = ["make", "--dry-run", "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", of(MODULE))
def test_a_module_starts_and_has_the_printed_options(name):
    """With ``--help``: the commands themselves need an account of a cloud, or run until they are stopped."""
    match = _MODULE.fullmatch(LINES[name])
    assert match
    done = run_module(match["module"], "--help")
    assert done.returncode == 0, done.stderr
    for option in re.findall(r"(?<!\S)--[a-z-]+", re.sub(r"\$\(.*\)", "", match["arguments"])):
        assert re.search(rf"{option}\b", done.stdout), option


def test_every_emulator_with_options_has_its_command():
    assert {"azure_host", "eventgrid", "pubsub"} <= OF_EMULATORS.keys()


@pytest.mark.parametrize("name", OF_EMULATORS)
def test_an_emulator_starts_as_printed_and_answers_the_printed_commands(name, database_url, tmp_path):
    """On free ports, with an empty folder and a real database."""
    ports = {port: str(free_port()) for line in OF_EMULATORS[name] for port in _PORT.findall(line)}

    def here(line: str) -> str:
        line = _PORT.sub(lambda match: ports[match[0]], line).replace(".venv/bin/python", sys.executable)
        return re.sub(r"(?<=--data )\S+", str(tmp_path / "data"), line).replace(PRINTED_DATABASE, database_url)

    start, *requests = map(here, OF_EMULATORS[name])
    with Process(name, ["bash", "-c", start], log=tmp_path / "log", cwd=ROOT) as emulator:
        for port in re.findall(r"port (\d+)", start):
            emulator.wait_ready(accepts(int(port)), seconds=60)
        for line in requests:
            bash(line.replace("curl ", "curl --silent --show-error --fail ", 1))


def bash(line: str) -> str:
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=60, check=True, env=dict(os.environ)
    ).stdout


def run_module(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=scrubbed_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def curl(api, records) -> Callable[[str], str]:
    """Runs a line against a running API instead of the demo's."""

    def run(line: str) -> str:
        command = line.replace("curl ", "curl --silent --show-error --fail ", 1)
        return bash(re.sub(r"http://(localhost|127\.0\.0\.1):8001", api.url, command))

    return run


def test_the_curl_commands_of_each_document_succeed_in_their_order(curl):
    outputs = [curl(line) for line in of(CURL).values()]
    assert '"ORD-TEST-123"' in outputs[-1]


def test_every_line_of_the_command_line_is_run_or_parsed_by_the_other_module():
    covered = {command.arguments for document in DOCUMENTS for command in printed_commands(document)}
    for line in LINES.values():
        if _OWN.match(line) and not any(re.fullmatch(pattern, line) for pattern in NOT_RUN):
            assert any(" ".join(arguments) in re.sub(r"\s+", " ", line).replace("'", "") for arguments in covered), line
