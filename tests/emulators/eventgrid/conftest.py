"""One emulator that most tests share, each with its own topic, and a receiver of deliveries."""

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
    """A running emulator with the real times of Azure."""
    emulated = Emulated(tmp_path_factory.mktemp("eventgrid"), scale=1)
    emulated.start()
    yield emulated
    emulated.process.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An endpoint that consents to the handshake and acknowledges every delivery."""
    with Receiver() as receiver:
        yield receiver
