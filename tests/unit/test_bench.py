"""The arithmetic of the benchmark, and its tables."""

import io
import json

import pytest
from msgspec.structs import replace
from rich.console import Console

from scripts.bench.report import Table, machine, percentile, show, write

TABLE = Table(
    title="Speed, events/s",
    columns=("what", "count", "rate", "ratio"),
    rows=[("ingest", 1_000_000, 12345.6, 0.517)],
    goal="goal: 0.5",
)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([7.0], 50, 7.0),
        ([7.0], 99, 7.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([4.0, 3.0, 2.0, 1.0], 50, 2.0),
        ([float(value) for value in range(1, 101)], 99, 99.0),
        ([float(value) for value in range(1, 102)], 99, 100.0),
        ([1.0, 2.0], 0, 1.0),
        ([1.0, 2.0], 100, 2.0),
    ],
)
def test_a_percentile_is_one_of_the_values(values, percent, expected):
    assert percentile(values, percent) == expected


def test_a_percentile_of_no_values_is_an_error():
    with pytest.raises(ValueError, match="no values were measured"):
        percentile([], 50)


def test_a_table_rounds_large_numbers_more_than_small_ones():
    output = io.StringIO()
    show(Console(file=output, width=120), TABLE)

    text = output.getvalue()
    assert all(part in text for part in ("Speed, events/s", "1,000,000", "12,346", "0.52", "goal: 0.5"))


def test_the_machine_s_own_figures_are_beside_a_table():
    output = io.StringIO()
    show(Console(file=output, width=120), replace(TABLE, beside={"bare insert/s": 2045.4, "fsync ms": 0.25}))

    assert "bare insert/s 2,045, fsync ms 0.25" in output.getvalue()


def test_the_file_has_the_machine_and_the_exact_results(tmp_path):
    file = tmp_path / "bench.json"
    write(file, machine(), [TABLE])

    written = json.loads(file.read_text())
    assert written["tables"][0]["rows"] == [["ingest", 1_000_000, 12345.6, 0.517]]
    assert {"measured_at", "cpu", "cores", "load_average", "python"} <= written["machine"].keys()
