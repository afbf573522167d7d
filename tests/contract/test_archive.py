"""The archive holds what Postgres held, byte for byte; a check finds what changed; a restore brings it back."""

import json
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from obstore.store import MemoryStore
from psycopg import sql

from helios.adapters.archive import parquet
from helios.adapters.archive.parquet import DuckDb
from helios.adapters.postgres.archive import not_archived
from helios.adapters.postgres.retention import PostgresRetention
from helios.errors import Rejected, Retryable
from helios.model.archive import Contents, FileFilter, contents, total
from helios.model.erasure import Selector
from helios.model.events import Delivery, EventFilter
from helios.model.retention import Retention
from helios.services.retention import RetentionJob
from tests.support.archive import FIRST, NOW, days, fill, midnight, open_database, order
from tests.support.envelopes import eventbridge_event

ALL = FileFilter()


def location(archived, file) -> Path:
    return Path(archived.archive_url.removeprefix("file://")) / file.path


def findings(archived) -> list[str]:
    return [finding.reason for _, finding in archived.archive.verify(ALL) if finding]


def reasons(archived, table):
    with archived.pool.connection() as connection:
        return not_archived(connection, table)


def test_a_day_that_is_over_is_copied_once(archived):
    fill(archived)

    first, second = archived.archive.run(NOW), archived.archive.run(NOW)

    assert (first.days, first.files, first.rows) == (3, 6, 120)
    assert (second.days, second.files) == (0, 0)
    assert archived.archive.run(NOW, recheck=True).files == 0
    files = archived.archive.manifest.files(ALL)
    assert sorted({(file.source, file.day) for file in files}) == [
        (source, day) for source in ("aws", "azure") for day in days(3)
    ]
    assert all(file.path.startswith(f"source={file.source}/day={file.day}/") for file in files)
    assert findings(archived) == []
    assert archived.archive.unlisted() == []


def test_a_day_is_not_copied_before_its_batches_have_ended(archived):
    fill(archived, of_days=2)
    end_of_first_day = NOW.replace(day=2, hour=0)

    assert archived.archive.run(end_of_first_day + timedelta(minutes=59)).days == 0
    assert archived.archive.run(end_of_first_day + timedelta(minutes=61)).days == 1


def test_a_day_is_a_utc_day_whatever_the_time_zone_of_the_database(archived):
    """In Tokyo, the only events of the first day were received on the second."""
    archived.ingest(order(1, second=20 * 3600), order(2, day=days(2)[1]))
    with archived.pool.connection() as connection:
        name = archived.url.rpartition("/")[2]
        connection.execute(sql.SQL("ALTER DATABASE {} SET timezone = 'Asia/Tokyo'").format(sql.Identifier(name)))

    assert archived.archive.run(NOW).days == 2
    assert [file.day for file in archived.archive.manifest.files(ALL)] == days(2)
    assert reasons(archived, "events_20251101") == []


def test_a_file_has_every_column_byte_for_byte(archived):
    fill(archived, of_days=1)
    before = archived.rows()

    archived.archive.run(NOW)
    archived.drop(FIRST)
    archived.archive.restore(FIRST, FIRST)

    assert len(before) == 40
    assert "10.50" in before[0][0]
    assert archived.rows() == before


def test_large_events_make_small_row_groups(archived, monkeypatch, tmp_path):
    """DuckDB has a row group in memory: 122,880 events of 10 KB do not fit, and their day could not be archived."""
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 3_000_000)
    archived.ingest(*(large(number) for number in range(2500)))

    assert archived.archive.run(NOW).rows == 2500
    (file,) = archived.archive.manifest.files(ALL)
    assert row_groups(location(archived, file)) == [2048, 452]
    (folder := tmp_path / "rewritten").mkdir()
    (rewritten,) = archived.opened.files.rewrite(file, Selector("order_id", "ORD-7"), folder)
    assert row_groups(rewritten.location) == [2048, 451]


def large(number):
    """An event with a payload of 1 KB."""
    event = eventbridge_event(f"large-{number}", detail={"order_id": f"ORD-{number}", "note": "x" * 1000})
    received_at = midnight(FIRST) + timedelta(seconds=number)
    return Delivery(channel="eventbridge", body=json.dumps(event).encode(), received_at=received_at)


def row_groups(file: Path) -> list[int]:
    """The number of rows in each row group of a file."""
    groups = f"SELECT DISTINCT row_group_id, row_group_num_rows FROM parquet_metadata('{file}') ORDER BY row_group_id"
    return [rows for _, rows in duckdb.sql(groups).fetchall()]


def test_events_stored_after_the_copy_are_added_as_another_file(archived):
    fill(archived, of_days=1)
    archived.archive.run(NOW)
    archived.ingest(order(500), order(501))

    assert reasons(archived, "events_20251101") == ["aws 2025-11-01: events_20251101 has 22 events, the archive 20"]
    added = archived.archive.run(NOW, recheck=True)

    assert (added.files, added.rows) == (1, 2)
    assert reasons(archived, "events_20251101") == []
    assert findings(archived) == []


def test_late_events_are_found_two_days_later_without_being_asked_for(archived):
    fill(archived, of_days=1)
    archived.archive.run(NOW.replace(day=2))
    archived.ingest(order(500))

    assert archived.archive.run(NOW.replace(day=3)).days == 0
    assert archived.archive.run(NOW.replace(day=5)).rows == 1
    assert archived.archive.run(NOW.replace(day=6)).days == 0


def test_a_partition_is_archived_only_if_every_event_agrees(archived):
    fill(archived, of_days=1)
    assert len(reasons(archived, "events_20251101")) == 2
    archived.archive.run(NOW)
    assert reasons(archived, "events_20251101") == []

    with archived.pool.connection() as connection:
        connection.execute("UPDATE events SET data = '{}' WHERE id = 'aws-3'")

    assert reasons(archived, "events_20251101") == [
        "aws 2025-11-01: events_20251101 has 20 events, the archive 20, but not the same"
    ]


def test_a_file_that_was_not_read_back_does_not_count(archived):
    fill(archived, of_days=1)
    archived.archive.run(NOW)
    with archived.pool.connection() as connection:
        connection.execute("UPDATE archive_files SET verified_at = NULL WHERE source = 'aws'")

    assert reasons(archived, "events_20251101") == ["aws 2025-11-01: events_20251101 has 20 events, the archive 0"]


def test_a_check_finds_a_flipped_byte(archived):
    fill(archived, of_days=1)
    archived.archive.run(NOW)
    file = location(archived, archived.archive.manifest.files(ALL)[0])
    content = bytearray(file.read_bytes())
    for place in (len(content) // 3, len(content) - 20, 40):
        changed = content.copy()
        changed[place] ^= 1
        file.write_bytes(changed)
        assert len(findings(archived)) == 1, place
    file.write_bytes(content)
    assert findings(archived) == []


def test_a_check_finds_a_missing_file(archived):
    fill(archived, of_days=1)
    archived.archive.run(NOW)
    location(archived, archived.archive.manifest.files(ALL)[0]).unlink()

    assert findings(archived) == ["is missing"]


def test_a_check_finds_a_missing_row(archived):
    fill(archived, of_days=1)
    archived.archive.run(NOW)
    file = location(archived, archived.archive.manifest.files(ALL)[0])
    duckdb.sql(f"COPY (FROM '{file}' WHERE id <> 'aws-7') TO '{file}.new' (FORMAT parquet)")
    Path(f"{file}.new").rename(file)

    assert findings(archived) == ["has 19 events instead of 20"]


def test_a_check_finds_a_changed_row(archived):
    fill(archived, of_days=1)
    archived.archive.run(NOW)
    file = location(archived, archived.archive.manifest.files(ALL)[0])
    duckdb.sql(
        f"COPY (SELECT * REPLACE (if(id = 'aws-7', '9.99', amount) AS amount) FROM '{file}') TO '{file}.new'"
        " (FORMAT parquet)"
    )
    Path(f"{file}.new").rename(file)

    assert findings(archived) == ["has other events than those that were written"]


def test_a_check_reads_what_has_replaced_a_file_meanwhile(archived, tmp_path):
    fill(archived, of_days=1)
    archived.archive.run(NOW)
    first, second = archived.archive.manifest.files(ALL)
    check = archived.archive.verify(ALL)
    assert next(check) == (first, None)

    with archived.archive.own_turn() as turn:
        files = archived.opened.files.rewrite(second, Selector("order_id", "ORD-7"), tmp_path)
        archived.archive.store(turn, files, replaced=[second.path], now=NOW)
        archived.archive.remove_unreadable(turn)
    (replacement,) = set(archived.archive.manifest.files(ALL)) - {first}
    location(archived, replacement).unlink()

    assert [(file, finding and finding.reason) for file, finding in check] == [(replacement, "is missing")]


def test_a_file_that_nobody_lists_is_reported(archived):
    fill(archived, of_days=1)
    archived.archive.run(NOW)
    file = archived.archive.manifest.files(ALL)[0]
    location(archived, file).with_name("other.parquet").write_bytes(b"x")

    assert archived.archive.unlisted() == [file.path.rpartition("/")[0] + "/other.parquet"]


def test_days_in_postgres_are_not_restored_over(archived):
    fill(archived)
    archived.archive.run(NOW)
    archived.drop(days(3)[1])

    with pytest.raises(Rejected, match="overlaps the partition events_20251101"):
        archived.archive.restore(*days(2))
    with pytest.raises(Rejected, match="The archive has no event of 2025-10-01"):
        archived.archive.restore(FIRST.replace(month=10), FIRST.replace(month=10))


def test_days_are_restored_again_after_they_were_dropped(archived):
    fill(archived, of_days=2)
    before = archived.rows()
    archived.archive.run(NOW)
    for day in days(2):
        archived.drop(day)
    for _ in range(2):
        name, rows = archived.archive.restore(*days(2))
        assert (rows, archived.rows()) == (80, before)
        with archived.pool.connection() as connection:
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))


def test_retention_drops_restored_days_that_are_no_longer_listed(archived):
    fill(archived, of_days=1)
    archived.archive.run(NOW)
    archived.drop(FIRST)
    name, _ = archived.archive.restore(FIRST, FIRST)
    retention = RetentionJob(Retention(events=timedelta(days=1)), PostgresRetention(archived.pool, archived.url))
    now = midnight(days(3)[2])  # the other days have not expired
    assert retention.drop_expired(now) == []

    with archived.pool.connection() as connection:
        connection.execute("DELETE FROM restored_partitions WHERE name = %s", (name,))

    assert retention.drop_expired(now) == [name]


def test_a_changed_file_is_not_restored(archived):
    fill(archived, of_days=1)
    archived.archive.run(NOW)
    archived.drop(FIRST)
    file = location(archived, archived.archive.manifest.files(ALL)[0])
    duckdb.sql(f"COPY (FROM '{file}' WHERE id <> 'aws-7') TO '{file}.new' (FORMAT parquet)")
    Path(f"{file}.new").rename(file)

    with pytest.raises(Retryable, match="Archive: "):
        archived.archive.restore(FIRST, FIRST)
    assert archived.rows() == []


def test_a_restored_event_is_still_a_duplicate(archived):
    fill(archived, of_days=1)
    archived.archive.run(NOW)
    archived.drop(FIRST)
    archived.ingest(order(3))
    assert archived.rows() == []

    archived.archive.restore(FIRST, FIRST)
    archived.ingest(order(3))

    assert len(archived.rows()) == 40


@pytest.mark.parametrize(("field", "value", "number"), [("order_id", "ORD-1003", 2), ("customer_id", "nobody", 0)])
def test_the_manifest_finds_the_files_of_an_order(archived, field, value, number):
    fill(archived)
    archived.archive.run(NOW)

    assert len(archived.archive.manifest.files(FileFilter(field=field, value=value))) == number


def test_only_days_without_a_partition_are_read_from_the_archive(archived):
    fill(archived)
    archived.archive.run(NOW)
    archived.drop(days(3)[1])

    files = archived.archive.manifest.files(FileFilter(only_archived=True))

    assert {file.day for file in files} == {days(3)[1]}


def test_digests_of_parts_add_up():
    parts = [contents(1, 2**63, 5), contents(2, 2**63, 2**64 - 1)]

    assert total(parts) == contents(3, 2**64, 2**64 + 4) == Contents(3, "0" * 16 + f"{4:016x}")


def test_the_archive_works_on_every_kind_of_store(archive_database_url, any_archive_url):
    with closing(open_database(archive_database_url, any_archive_url)) as archived:
        fill(archived)
        before = archived.rows()
        assert archived.archive.run(NOW).rows == 120
        assert findings(archived) == []
        for day in days(3):
            archived.drop(day)
        page = archived.opened.reader.events(EventFilter(order_id="ORD-1003"), after=None, limit=10)
        assert [event.archived for event in page.items] == [True, True]
        archived.archive.restore(FIRST, days(3)[-1])
        assert archived.rows() == before


def test_each_copied_day_and_each_run_is_a_success(archived):
    """The health of the API and an alarm of AWS read when the last one was."""
    fill(archived, of_days=1)
    with archived.pool.connection() as connection:
        connection.execute("UPDATE archive_progress SET succeeded_at = '2025-01-01Z'")

    archived.archive.run(NOW)
    assert archived.opened.reader.archive_succeeded_at() == NOW

    archived.archive.run(NOW + timedelta(hours=1))
    archived.archive.run(NOW)  # a clock that is behind takes nothing back
    assert archived.opened.reader.archive_succeeded_at() == NOW + timedelta(hours=1)


def test_a_run_that_fails_is_no_success(archived, monkeypatch):
    fill(archived, of_days=1)
    before = archived.opened.reader.archive_succeeded_at()

    def full(*_):
        raise Retryable("Archive: no space is left")

    monkeypatch.setattr(archived.archive.objects, "put", full)
    with pytest.raises(Retryable, match="no space"):
        archived.archive.run(before + timedelta(days=3))

    assert archived.opened.reader.archive_succeeded_at() == before


def test_each_duckdb_has_temporary_files_of_its_own():
    """DuckDB names them alike in each process, and removes all of them when it closes."""
    setting = "SELECT current_setting('temp_directory')"

    def folder_of(database):
        (folder,) = database.cursor().execute(setting).fetchone() or ("",)
        return Path(folder)

    databases = [DuckDb(MemoryStore(), database_url="postgresql://127.0.0.1:1/db", threads=1) for _ in range(2)]
    folders = [folder_of(database) for database in databases]

    assert folders[0] != folders[1]
    for database, folder in zip(databases, folders, strict=True):
        assert folder.is_dir()
        database.close()
        assert not folder.exists()


def test_an_error_of_duckdb_does_not_quote_the_password_of_postgres():
    database = DuckDb(MemoryStore(), database_url="postgresql://me:hidden@127.0.0.1:1/db", threads=1)
    with closing(database), pytest.raises(Retryable, match=r"connect to Postgres: .*127\.0\.0\.1") as failure:
        database.attach_postgres()

    assert "hidden" not in str(failure.value)  # pragma: allowlist secret
