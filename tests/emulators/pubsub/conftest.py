"""One emulator of each kind for the run, and names of its own for every test."""

import uuid
from collections.abc import Iterator

import pytest

from tests.emulators.pubsub.emulators import Emulator, Google, Helios, google_jar
from tests.emulators.pubsub.receiver import Receiver

KINDS = [Helios, Google] if google_jar() else [Helios]
"""Google's own is an oracle where there is one; nobody has to install it."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was compared with what: without Google's emulator nothing is skipped, and less is shown."""
    oracle = google_jar() or "nothing: PUBSUB_EMULATOR_JAR names no jar, none is installed, or there is no Java"
    terminalreporter.write_line(f"Pub/Sub emulator compared with {oracle}")


@pytest.fixture(scope="session", params=KINDS, ids=lambda kind: kind.name)
def emulator(request, tmp_path_factory) -> Iterator[Emulator]:
    """Every emulator that there is."""
    running = request.param(tmp_path_factory.mktemp(request.param.name))
    running.start()
    yield running
    running.close()


@pytest.fixture(scope="session")
def ours(tmp_path_factory) -> Iterator[Helios]:
    """Ours, for what Google's emulator lacks."""
    running = Helios(tmp_path_factory.mktemp("ours"))
    running.start()
    yield running
    running.close()


@pytest.fixture
def project() -> str:
    """A project that nothing else is in."""
    return f"p-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A push endpoint."""
    with Receiver() as running:
        yield running
