"""The benchmarks run: they use the tables, the settings and the API of this version."""

import json
import subprocess
import sys

import pytest

from local.stack.config import REPOSITORY

pytestmark = pytest.mark.slow  # minutes of load


def run(*arguments):
    ended = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return ended.stdout


def tables(tmp_path, *arguments):
    results = tmp_path / "bench.json"
    run("scripts.bench", "--quick", "--json", str(results), *arguments)
    return {table["title"]: table["rows"] for table in json.loads(results.read_text())["tables"]}


def test_the_benchmarks_run_and_write_their_tables(tmp_path):
    titles = tables(tmp_path, "--only", "ingest", "flows", "webhooks", "live")

    assert any(title.startswith("Ingest with flows") for title in titles)


def test_forty_days_pass_and_their_events_are_dropped(tmp_path):
    (days, *_) = tables(tmp_path, "--only", "retention", "--events", "80000").values()
    stored = {row[0]: row[1] for row in days}

    assert stored[40] < 11 * stored[1]


def test_pages_of_archived_orders_and_drops_are_measured(tmp_path):
    titles = tables(tmp_path, "--only", "archive", "drops", "--events", "3000")

    assert [title.partition(":")[0].partition(",")[0] for title in titles] == [
        "The page of an order",
        "helios query",
        "Ingest of batches of 90",
    ]


def test_two_versions_are_compared():
    """This version with itself. The ratio is not checked, because it depends on the load of the machine."""
    assert "500" in run("scripts.bench.against", "HEAD", "--quick")
