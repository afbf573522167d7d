"""kill -9 at each step of the archive's commands, then the same command again: nothing is lost, nothing is doubled."""

import csv
import json
import signal
import subprocess
import sys

import pytest

from helios.adapters.postgres.archive import LEASE, not_archived
from helios.model.archive import FileFilter
from helios.model.events import EventFilter
from helios.processes.process import scrubbed_environment
from tests.support.api import ROOT
from tests.support.archive import FIRST, NOW, days, fill, order
from tests.support.crash import ARCHIVE_STEPS, CLEANING_STEPS, DROP_STEPS, ERASURE_STEPS, RESTORE_STEPS
from tests.support.leases import expire


@pytest.fixture
def helios(archived):
    """Run a command on the database, in a process that may kill itself at a step."""

    def run(*arguments: str, step: str | None = None, retention: str = "") -> subprocess.CompletedProcess:
        crash = ["tests.support.crash", step, "-m"] if step else []
        return subprocess.run(
            [sys.executable, "-m", *crash, "helios", *arguments],
            env=scrubbed_environment(
                HELIOS_DATABASE_URL=archived.url,
                HELIOS_ARCHIVE_URL=archived.archive_url,
                HELIOS_ERASURE_SECRET="s" * 16,
                HELIOS_RETENTION=retention,
            ),
            cwd=ROOT,
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )

    return run


def assert_killed(archived, result: subprocess.CompletedProcess) -> None:
    assert result.returncode == -signal.SIGKILL, result.stderr
    expire(archived.pool, LEASE)


def assert_archived_once(archived, events: int) -> None:
    """Every event is in one readable file, and there is no other file."""
    files = archived.archive.manifest.files(FileFilter())
    assert sum(file.contents.rows for file in files) == events
    assert archived.archive.objects.paths() == {file.path for file in files}
    assert [finding for _, finding in archived.archive.verify(FileFilter()) if finding] == []
    with archived.pool.connection() as connection:
        assert not_archived(connection, "events") == []


@pytest.mark.parametrize("step", ARCHIVE_STEPS)
def test_a_killed_job_loses_and_doubles_no_event(archived, helios, step):
    fill(archived, of_days=2)

    assert_killed(archived, helios("archive", "run", step=step))
    assert len(archived.archive.manifest.files(FileFilter())) == ARCHIVE_STEPS[step].is_committed + (
        step == "before-finishing-the-day"
    )

    again = helios("archive", "run")
    assert again.returncode == 0, again.stderr
    assert_archived_once(archived, 80)


@pytest.mark.parametrize("step", CLEANING_STEPS)
def test_a_job_killed_while_it_removes_leftovers_is_repeated(archived, helios, step):
    fill(archived, of_days=1)
    assert_killed(archived, helios("archive", "run", step="after-writing"))

    assert_killed(archived, helios("archive", "run", step=step))

    again = helios("archive", "run")
    assert again.returncode == 0, again.stderr
    assert_archived_once(archived, 40)


@pytest.mark.parametrize("step", RESTORE_STEPS)
def test_a_killed_restore_restores_all_or_nothing(archived, helios, step):
    fill(archived, of_days=2)
    before = archived.rows()
    assert helios("archive", "run").returncode == 0
    for day in days(2):
        archived.drop(day)

    command = ("archive", "restore", "--since", str(FIRST), "--until", str(days(2)[-1]))
    assert_killed(archived, helios(*command, step=step))
    assert archived.rows() == (before if RESTORE_STEPS[step].is_committed else [])

    again = helios(*command)
    assert again.returncode == (2 if RESTORE_STEPS[step].is_committed else 0), again.stderr
    assert archived.rows() == before


@pytest.mark.parametrize("step", DROP_STEPS)
def test_a_killed_drop_loses_and_doubles_no_event(archived, helios, step):
    """At each point every event is in Postgres or read from the archive, and the next run completes the drop."""
    fill(archived, of_days=1)
    archived.archive.run(NOW)
    before = ids(archived)
    assert len(before) == 40

    assert_killed(archived, helios("archive", "run", step=step, retention="events=7"))
    is_dropped = DROP_STEPS[step].is_committed
    assert tables_of_events(archived, FIRST) == (0 if is_dropped else 1)
    assert ids(archived) == before

    again = helios("archive", "run", retention="events=7")
    assert again.returncode == 0, again.stderr
    assert (f"events_{FIRST:%Y%m%d}" in again.stdout) is not is_dropped
    assert tables_of_events(archived, FIRST) == 0
    assert ids(archived) == before
    assert archived.rows() == []


@pytest.mark.parametrize("step", ["before-detaching-a-partition", "after-detaching-a-partition"])
def test_an_erasure_after_a_killed_drop_erases_the_events_of_its_partition(archived, helios, step):
    fill(archived, of_days=1)
    archived.archive.run(NOW)
    others = others_than(archived, "CUST-1")
    assert_killed(archived, helios("archive", "run", step=step, retention="events=7"))

    erased = helios("erase", "--customer", "CUST-1")
    assert (erased.returncode, json.loads(erased.stdout)["left"]) == (0, {}), erased.stderr

    assert f"events_{FIRST:%Y%m%d}" in helios("archive", "run", retention="events=7").stdout
    assert ids(archived) == sorted(others)


def tables_of_events(archived, day) -> int:
    """The number of tables with the events of a day."""
    with archived.pool.connection() as connection:
        query = "SELECT count(*) FROM pg_class WHERE relname = %s"
        ((number,),) = connection.execute(query, [f"events_{day:%Y%m%d}"]).fetchall()
    return number


def ids(archived) -> list[str]:
    """The ids of all events, wherever they are."""
    page = archived.opened.reader.events(EventFilter(), after=None, limit=50)
    return sorted(event.id for event in page.items)


@pytest.mark.parametrize("step", ERASURE_STEPS)
def test_a_killed_erasure_is_complete_when_it_has_run_again(archived, helios, step):
    fill(archived, of_days=2)
    archived.archive.run(NOW)
    archived.drop(FIRST)
    others = others_than(archived, "CUST-1")

    assert_killed(archived, helios("erase", "--customer", "CUST-1", step=step))
    assert others_than(archived, "CUST-1") == others

    again = helios("erase", "--customer", "CUST-1")
    assert again.returncode == 0, again.stderr
    receipt = json.loads(again.stdout)
    assert receipt["left"] == {}
    assert bool(receipt["removed"]) is not ERASURE_STEPS[step].is_committed
    assert others_than(archived, "CUST-1") == others
    assert archived.opened.reader.events(EventFilter(order_id="ORD-1"), after=None, limit=10).items == []
    assert archived.archive.objects.paths() == {file.path for file in archived.archive.manifest.files(FileFilter())}
    assert [finding for _, finding in archived.archive.verify(FileFilter()) if finding] == []
    archived.ingest(order(1), order(1001, day=days(2)[1]))
    assert archived.opened.reader.events(EventFilter(order_id="ORD-1"), after=None, limit=10).items == []


def others_than(archived, customer: str) -> list[str]:
    """The ids of the events of other customers, wherever they are."""
    events = archived.opened.reader.events(EventFilter(), after=None, limit=500).items
    return [event.id for event in events if event.customer_id != customer]


def test_a_receipt_can_be_checked(archived, helios, tmp_path):
    fill(archived, of_days=1)
    preview = helios("erase", "--customer", "CUST-1", "--dry-run")
    assert "events                   6" in preview.stdout
    assert "backups of the database" in preview.stdout
    receipt = helios("erase", "--customer", "CUST-1").stdout
    (tmp_path / "receipt.json").write_text(receipt)
    (tmp_path / "changed.json").write_text(receipt.replace('"events":6', '"events":7'))

    assert "The receipt is authentic" in helios("erase", "--check", str(tmp_path / "receipt.json")).stdout
    changed = helios("erase", "--check", str(tmp_path / "changed.json"))
    assert changed.returncode == 2
    assert "the signature is not that of this receipt" in changed.stderr


def test_a_query_prints_what_it_read(archived, helios):
    fill(archived, of_days=2)
    archived.archive.run(NOW)
    archived.drop(FIRST)

    result = helios("query", "SELECT day, count(*) AS events, sum(amount) FROM events GROUP BY day ORDER BY day")

    assert result.stdout.splitlines() == [
        "day,events,sum(amount)",
        "2025-11-01,40,210.0000000000",
        "2025-11-02,40,210.0000000000",
    ]
    by_name = helios("query", "--csv", "SELECT 1.50 AS n, {'a': 1} AS o, NULL AS x, 'b,c' AS t, DATE '2026-01-02' AS d")
    assert by_name.stdout.splitlines() == ["n,o,x,t,d", '1.50,"{""a"":1}",,"b,c",2026-01-02']
    assert "2 rows in" in result.stderr
    assert "of 2 archive files" in result.stderr


def test_the_commands_say_what_they_did(archived, helios):
    fill(archived, of_days=2)

    run = helios("archive", "run")
    assert run.stdout.splitlines() == ["2 days compared; 80 events written to 4 files"]
    listed = helios("archive", "list", "--source", "azure", "--since", str(days(2)[1])).stdout.splitlines()
    assert len(listed) == 2
    assert listed[0].startswith("2025-11-02 azure            20 events")
    names, *rows = csv.reader(helios("archive", "list", "--csv").stdout.splitlines())
    files = [json.loads(line) for line in helios("archive", "list", "--json").stdout.splitlines()]
    assert [row[names.index("path")] for row in rows] == [file["path"] for file in files]
    assert [json.loads(row[names.index("contents")]) for row in rows] == [file["contents"] for file in files]
    assert helios("archive", "verify").stdout.splitlines() == ["4 files read, each as it was written"]

    path = archived.archive.manifest.files(FileFilter())[0].path
    archived.archive.objects.delete(path)
    damaged = helios("archive", "verify")
    assert damaged.returncode == 2
    assert damaged.stdout.splitlines() == [f"{path} is missing"]
    assert "1 of 4 files are damaged" in damaged.stderr


def test_an_archive_that_is_not_configured_is_said(archived):
    result = subprocess.run(
        [sys.executable, "-m", "helios", "archive", "list"],
        env=scrubbed_environment(HELIOS_DATABASE_URL=archived.url),
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert result.returncode == 2
    assert "HELIOS_ARCHIVE_URL is not set" in result.stderr
