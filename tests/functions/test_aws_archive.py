"""The archive function in a separate process, as on Lambda."""

import json
import os
import subprocess
import sys

import pytest

from helios.model.archive import FileFilter
from tests.support.api import ROOT
from tests.support.archive import DAYS, fill


def call(archived, **variables: str) -> dict:
    process = subprocess.run(
        [sys.executable, "-m", "tests.support.aws_lambda", "functions.aws.archive.handler"],
        input="{}",
        cwd=ROOT,
        env=os.environ | {"HELIOS_DATABASE_URL": archived.url, "HELIOS_ARCHIVE_URL": archived.archive_url} | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(process.stdout.splitlines()[-1])


@pytest.fixture
def long_call(monkeypatch):
    """Lambda's longest call."""
    monkeypatch.setenv("TEST_LAMBDA_SECONDS", "900")


def test_a_call_archives_what_is_over_and_drops_what_has_expired(archived, long_call):
    fill(archived, number=2)

    answer = call(archived, HELIOS_RETENTION="events=30")

    assert answer == {"days": 3, "files": 6, "rows": 12, "partitions_dropped": DAYS}
    assert archived.rows() == []
    assert [finding for _, finding in archived.archive.verify(FileFilter()) if finding] == []


def test_a_call_that_has_no_time_left_for_a_day_leaves_it_to_the_next_one(archived):
    fill(archived, number=2)

    assert call(archived)["days"] == 0


def test_a_second_call_at_the_same_time_does_nothing(archived, long_call):
    fill(archived, number=2)
    with archived.archive.manifest.turn() as turn:
        assert turn is not None
        assert call(archived, HELIOS_RETENTION="events=30") == {
            "days": 0,
            "files": 0,
            "rows": 0,
            "partitions_dropped": 0,
        }
