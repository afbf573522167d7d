"""``make demo-year`` makes a year of events, archives it, drops it from Postgres, and finds it again."""

import csv
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from local.demo.year import DAYS

ROOT = Path(__file__).parents[2]


@pytest.mark.slow  # archives three files for each day of a year
def test_a_year_is_archived_dropped_and_queried(tmp_path):
    begin = datetime.now(UTC).date() - timedelta(days=DAYS + 1)
    command = [sys.executable, "-m", "local.demo.year", "--orders", "1", "--exit"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    stored, archived, dropped, *_ = ended.stdout.splitlines()
    assert stored == f"{3 * DAYS:,} events of {DAYS} days are stored in Postgres."
    assert archived.startswith(("1,095 of them", "1,092 of them"))  # in the hour after midnight, a day less
    assert "partitions were compared with the archive and dropped" in dropped
    months = list(csv.DictReader(ended.stdout[ended.stdout.index("month,events") :].splitlines()))[:-1]
    assert sum(int(month["events"]) for month in months) == DAYS
    assert date.fromisoformat(months[0]["month"]) >= begin.replace(day=1)
    assert all(month["archived"] == month["events"] for month in months[:-1])
