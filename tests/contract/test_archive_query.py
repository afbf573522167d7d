"""SQL over hot and archived events as one view: the same answers wherever they are, and nothing is changed."""

from datetime import timedelta
from decimal import Decimal

import pytest

from helios.adapters.archive import query
from helios.errors import Rejected
from helios.model.archive import FileFilter
from tests.support.archive import NOW, change_at_first_listing, days, fill, midnight

BY_DAY = "SELECT day, source, count(*), sum(amount), min(received_at) FROM events GROUP BY ALL ORDER BY ALL"


def answer(archived, sql, where=None):
    return query.run(archived.opened.reading, archived.archive.manifest, sql, where or FileFilter())


@pytest.fixture
def filled(archived):
    fill(archived, number=10, of_days=4)
    archived.archive.run(NOW)
    return archived


def test_the_answer_is_the_same_after_partitions_were_dropped(filled):
    payloads = "SELECT id, data, attributes, amount, digest FROM events ORDER BY ALL"
    before = [answer(filled, sql).rows for sql in (BY_DAY, payloads)]
    for day in days(2):
        filled.drop(day)

    assert [answer(filled, sql).rows for sql in (BY_DAY, payloads)] == before
    assert answer(filled, "SELECT archived, count(*) FROM events GROUP BY ALL ORDER BY ALL").rows == [
        (False, 40),
        (True, 40),
    ]
    day, source, number, amount, first = before[0][0]
    assert (day, source, number, amount) == (days(1)[0], "aws", 10, Decimal("105.0000000000"))
    assert first == midnight(day) + timedelta(hours=1)


def test_a_condition_on_the_day_or_the_source_opens_only_files_of_it(filled):
    for day in days(4):
        filled.drop(day)
    sql = f"SELECT count(*), sum(amount) FROM events WHERE source = 'aws' AND day >= '{days(4)[2]}'"

    result = answer(filled, sql)

    assert result.rows == [(20, Decimal("210.0000000000"))]
    assert result.files_read == 2
    assert 0 < result.bytes_read < sum(file.bytes for file in filled.archive.manifest.files(FileFilter()))


def test_a_period_limits_both_parts_of_the_view(filled):
    filled.drop(days(1)[0])
    where = FileFilter(source="azure", since=midnight(days(2)[1]), until=midnight(days(3)[2]))

    assert answer(filled, "SELECT DISTINCT source, day FROM events", where).rows == [("azure", days(2)[1])]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("change", ["drop", "restore"])
def test_a_sum_has_each_event_once_while_a_day_is_dropped_or_restored(filled, change, before):
    first = days(1)[0]
    if change == "restore":
        filled.drop(first)
    changes = {"drop": lambda: filled.drop(first), "restore": lambda: filled.archive.restore(first, first)}

    with change_at_first_listing(changes[change], before=before):
        assert answer(filled, "SELECT count(*), sum(amount) FROM events").rows == [(80, Decimal("420.0000000000"))]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM hot.public.events",
        "COPY (SELECT 1) TO '/tmp/file'",
        "CREATE TABLE t AS SELECT 1",
        "ATTACH 'file.db'",
        "SELECT 1; DROP VIEW events",
        "SET threads = 1",
        "",
    ],
)
def test_only_a_select_is_answered(archived, sql):
    with pytest.raises(Rejected, match="only reads"):
        answer(archived, sql)


@pytest.mark.parametrize("sql", ["SELECT nothing FROM events", "SELECT FROM WHERE", "SELECT 'a'::INTEGER"])
def test_a_wrong_query_says_what_is_wrong(archived, sql):
    with pytest.raises(Rejected, match="Error"):
        answer(archived, sql)
