"""The size of a row group of the archive."""

import pytest

from helios.adapters.archive.parquet import ROW_GROUP_BYTES, ROW_GROUP_ROWS, VECTOR_ROWS, row_group_rows


@pytest.mark.parametrize(
    ("row_bytes", "rows"),
    [(0, ROW_GROUP_ROWS), (140, ROW_GROUP_ROWS), (1_000, ROW_GROUP_ROWS), (10_000, 12_288), (200_000, VECTOR_ROWS)],
)
def test_a_row_group_of_large_events_has_fewer_rows(row_bytes, rows):
    assert row_group_rows(row_bytes) == rows


@pytest.mark.parametrize("row_bytes", [1_042, 4_000, 20_000, 62_000])
def test_a_row_group_is_not_larger_than_its_limit(row_bytes):
    assert ROW_GROUP_BYTES / 2 < row_group_rows(row_bytes) * row_bytes <= ROW_GROUP_BYTES
