"""Every script in Python that a document prints runs as it is printed, against a running API."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helios.client import Client, NewEvent
from helios.processes.process import scrubbed_environment
from tests.support.api import ROOT
from tests.support.printed_commands import code_blocks

_TRACKED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
SCRIPTS = {
    f"{name}: {number}": text
    for name in _TRACKED.stdout.split()
    for number, text in enumerate(code_blocks(ROOT / name, {"python"}), 1)
}

PRINTED_ADDRESS = "localhost:8001"

FOLLOWS = re.compile(r"listen\(|follow\(|/ws/events")
"""What only a script has that follows the stream until it is ended."""

SECONDS = 30
"""Longest wait for a script's first line, and for its end."""


def test_the_documents_have_scripts():
    assert {"docs/client.md", "docs/stream.md"} <= {name.partition(":")[0] for name in SCRIPTS}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_prints_what_happens(name, api, records, tmp_path):
    """One that ends has to end with success. One that follows the stream runs until it has printed a line."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPTS[name].replace(PRINTED_ADDRESS, api.url.partition("://")[2]))

    follows = FOLLOWS.search(SCRIPTS[name])
    with running(script) as process, traffic(api.url):
        assert process.stdout
        ending = threading.Timer(SECONDS, process.kill)
        ending.start()
        first = process.stdout.readline()
        if follows:
            process.terminate()
        _, errors = process.communicate()
        ending.cancel()
    assert first, errors
    assert "Traceback" not in errors
    assert follows or process.returncode == 0, errors


def running(script: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, script],
        env=scrubbed_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def traffic(url: str) -> Iterator[None]:
    """Send events until the block ends: nothing outside shows when a script has begun to listen."""
    ended = threading.Event()

    def send() -> None:
        while not ended.wait(0.2):
            Client(url).send(NewEvent(cloud="aws", source="shop", type="OrderPlaced", data={"order_id": "ORD-1"}))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
