"""The benchmarks run: they use the tables, the settings and the API of this version."""

import json
import subprocess
import sys

import pytest

from local.stack.config import REPOSITORY


@pytest.mark.slow  # half a minute of load
def test_the_benchmarks_run_and_write_their_tables(tmp_path):
    results = tmp_path / "bench.json"
    command = [sys.executable, "-m", "scripts.bench", "--quick", "--json", str(results), "--only"]
    ended = subprocess.run(
        [*command, "ingest", "flows", "webhooks", "live"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    titles = [table["title"] for table in json.loads(results.read_text())["tables"]]
    assert any(title.startswith("Ingest with flows") for title in titles)
