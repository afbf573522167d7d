"""One emulator for most tests, each with a topic of its own; receivers for deliveries."""

from collections.abc import Iterator

import pytest

from tests.emulators.eventgrid.emulated import Emulated
from tests.emulators.eventgrid.receiver import Receiver


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """A running emulator."""
    emulated = Emulated(tmp_path_factory.mktemp("eventgrid"))
    emulated.start()
    yield emulated
    emulated.process.stop()


@pytest.fixture(scope="session")
def grid_in_real_time(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """A running emulator whose waits are as long as Azure's."""
    emulated = Emulated(tmp_path_factory.mktemp("eventgrid"), scale=1)
    emulated.start()
    yield emulated
    emulated.process.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A willing endpoint."""
    with Receiver() as receiver:
        yield receiver
