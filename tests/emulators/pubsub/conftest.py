"""One emulator of each kind for the run, and a project of its own for each test."""

import uuid
from collections.abc import Iterator

import pytest

from tests.emulators.pubsub.emulators import Emulator, Google, Helios, google_jar
from tests.emulators.pubsub.receiver import Receiver

KINDS = [Helios, Google] if google_jar() else [Helios]
"""Google's emulator is the reference where it is installed; it is optional."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report whether Google's emulator was compared: without it no test is skipped, but less is proved."""
    oracle = google_jar() or "nothing: PUBSUB_EMULATOR_JAR names no jar, none is installed, or there is no Java"
    terminalreporter.write_line(f"Pub/Sub emulator compared with {oracle}")


@pytest.fixture(scope="session", params=KINDS, ids=lambda kind: kind.name)
def emulator(request, tmp_path_factory) -> Iterator[Emulator]:
    """Each emulator: the one of Helios, and Google's where it is installed."""
    running = request.param(tmp_path_factory.mktemp(request.param.name))
    running.start()
    yield running
    running.close()


@pytest.fixture(scope="session")
def helios_emulator(tmp_path_factory) -> Iterator[Helios]:
    """The emulator of Helios alone, for features that Google's emulator lacks."""
    running = Helios(tmp_path_factory.mktemp("helios-only"))
    running.start()
    yield running
    running.close()


@pytest.fixture
def killable(tmp_path) -> Iterator[Helios]:
    """An emulator that the test may kill."""
    running = Helios(tmp_path)
    running.start()
    yield running
    running.close()


@pytest.fixture
def project() -> str:
    """The name of a project that no other test uses."""
    return f"p-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A push endpoint."""
    with Receiver() as running:
        yield running
