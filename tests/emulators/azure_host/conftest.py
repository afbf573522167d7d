"""The Functions host that most tests share."""

from collections.abc import Iterator

import pytest

from tests.emulators.azure_host.hosted import Hosted


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    """A running host with the app in ``app``."""
    hosted = Hosted(tmp_path_factory.mktemp("azure-host"), env={"PYTHON_THREADPOOL_THREAD_COUNT": "4"})
    hosted.start()
    yield hosted
    hosted.process.stop()
