"""Every deployment has one process that archives on a schedule: docs/archive.md lists them."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from helios import bootstrap
from helios.model.archive import FileFilter
from helios.serve import services as serve
from helios.settings import Settings
from tests.support.archive import fill
from tests.support.services import client_of
from tests.support.waiting import eventually


def test_of_several_api_processes_one_archives_without_being_asked(archived):
    """As `helios serve --workers 2` does, on one machine or on several."""
    fill(archived, number=2)
    settings = Settings(database_url=archived.url, archive_url=archived.archive_url, trust_loopback=True)
    before = archived.opened.reader.archive_succeeded_at()
    with ExitStack() as stack:
        client, _ = [
            stack.enter_context(client_of(*bootstrap.with_archive(bootstrap.build(settings)))) for _ in range(2)
        ]
        eventually(lambda: archived.opened.reader.archive_succeeded_at() > before, seconds=60)
        eventually(lambda: len(archived.archive.manifest.files(FileFilter())) == 6, seconds=60)
        assert client.get("/api/v1/health/detailed").json()["archive"] == "healthy"


@pytest.mark.parametrize("workers", [1, 3])
def test_helios_serve_runs_one_process_for_the_events_of_the_log(workers):
    """With the engine of Flink and HELIOS_EVENT_STORE=archive; otherwise the API archives."""

    def names(**settings: str) -> list[str]:
        address = serve.Address("127.0.0.1", 8001)
        return [row.name for row in serve.rows(address, settings, embedded=None, logs=Path("/unused"), workers=workers)]

    flink = {"HELIOS_ENGINE": "flink"}
    assert names(**flink, HELIOS_EVENT_STORE="archive").count("archive") == 1
    assert "archive" not in names(**flink)
    assert "archive" not in names()
