"""An erasure leaves nothing of a value in any place, refuses a resend, and touches nobody else's events."""

import base64
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from helios import bootstrap
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.archive import LEASE, PostgresManifest
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.erasure import PostgresErasure
from helios.adapters.postgres.flow_versions import PostgresFlowVersions
from helios.adapters.postgres.leases import PostgresLeases
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.resolutions import PostgresResolutions
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.errors import ConfigurationError, Retryable, RulesChanged
from helios.model.archive import FileFilter
from helios.model.erasure import Outstanding, Receipt, Selector, mentions, needles, selector
from helios.model.events import Delivery, EventFilter
from helios.model.resolutions import ResolutionFilter, ResolutionRequest
from helios.model.stream import Frame
from helios.reconciliation import declaration
from helios.services import archive
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.resolutions import resolve
from tests.support.archive import FIRST, NOW, days, fill, lost_in_writing, midnight, order
from tests.support.envelopes import eventbridge_event

SECRET = "s" * 32
ADA = Selector("customer_id", "CUST-1")
"""The orders 1, 8 and 15 of each day are hers. CUST-11 begins with the same text."""

HERS = ("order", "ORD-501")
"""The flow instance of an order of hers."""


@pytest.fixture
def filled(archived):
    """Three archived days, the first no longer in Postgres, and a dead letter about the customer."""
    fill(archived)
    store(archived, order(500, customer="CUST-11"), order(501, customer="CUST-1", day=days(3)[2]))
    archived.archive.run(NOW)
    archived.drop(FIRST)
    dead_letters = [
        b'{"detail": {"customer_id": "CUST-1"}',
        b'{"message": {"data": "' + base64.b64encode(b'{"customer_id":"CUST-1"}') + b'"}',
        b'{"detail": {"customer_id": "CUST-11"}',
    ]
    store(archived, *(Delivery(channel="eventbridge", body=body, received_at=NOW) for body in dead_letters))
    for text in ("CUST-1 has called", "CUST-11 has called"):
        request = ResolutionRequest(step="accept", text=text, filter=ResolutionFilter(flow="order"))
        resolve(
            request, resolutions=PostgresResolutions(archived.pool), flows=["order"], actor="kim", now=datetime.now(UTC)
        )
    return archived


def store(archived, *deliveries):
    reconciler = Reconciler(declaration.load(None))
    return ingest(deliveries, dedupe=NullDedupeCache(), store=PostgresStore(archived.pool), reconciler=reconciler)


def erase(archived, chosen=ADA) -> Receipt:
    with bootstrap.eraser(archived.settings) as eraser:
        return eraser.erase(chosen, actor="tester", secret=SECRET, clock=lambda: datetime.now(UTC))


def orders_of(archived, customer):
    reader = archived.opened.reader
    events = reader.events(EventFilter(), after=None, limit=1000).items
    return sorted(event.id for event in events if event.customer_id == customer)


def scalar(archived, query, *values):
    with archived.pool.connection() as connection:
        return connection.execute(query, values).fetchone()[0]


def dump(archived) -> str:
    """Every row of every table, and every file of the archive as text."""
    with archived.pool.connection() as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        ).fetchall()
        rows = [connection.execute(f"SELECT t::text FROM {table} AS t").fetchall() for (table,) in tables]
        bodies = connection.execute("SELECT encode(body, 'escape') FROM dead_letters").fetchall()
    files = archived.archive.manifest.files(FileFilter())
    cursor = archived.opened.reading.cursor()
    texts = [cursor.execute("SELECT * FROM read_parquet(?)", [archived.opened.reading.urls(files)]).fetchall()]
    return str([rows, bodies, texts])


def test_nothing_of_the_value_is_left_anywhere(filled):
    assert mentions(dump(filled).encode(), "CUST-1")
    others = {customer: orders_of(filled, customer) for customer in ("CUST-2", "CUST-11")}

    receipt = erase(filled)

    assert receipt.left == {}
    assert receipt.removed["archive"] == 19
    assert receipt.removed["events"] == 13
    assert receipt.removed["dead_letters"] == 2
    assert receipt.removed["resolution_actions"] == 1
    assert receipt.removed["flow_instances"] > 0
    assert receipt.removed["frames"] > 0
    assert not mentions(dump(filled).encode(), "CUST-1")
    assert {customer: orders_of(filled, customer) for customer in others} == others
    assert [finding for _, finding in filled.archive.verify(FileFilter()) if finding] == []
    assert filled.archive.objects.paths() == {file.path for file in filled.archive.manifest.files(FileFilter())}


def test_a_read_begins_again_if_an_erasure_replaces_its_files(filled, monkeypatch):
    files_of, calls = PostgresManifest.files, []

    def replaced_afterwards(self, where):
        files = files_of(self, where)
        calls.append(where)
        if len(calls) == 1:
            erase(filled)
        return files

    monkeypatch.setattr(PostgresManifest, "files", replaced_afterwards)

    read = orders_of(filled, "CUST-2")
    assert read
    assert read == orders_of(filled, "CUST-2")


def written_again(archived, before_commit):
    """A writer reads the instance of an order, does ``before_commit``, and writes the instance on what it has read."""
    rules = PostgresFlowVersions(archived.pool).in_force()
    with PostgresStore(archived.pool).transaction() as work:
        (record,) = work.flows.find([HERS]).result().values()
        before_commit()
        work.flows.write([msgspec.structs.replace(record, version=record.version + 1)])
        frame = Frame(counts=[], events=[])
        work.stream.publish(frame, [], generation=rules.generation)


def test_a_writer_that_has_read_an_instance_before_its_erasure_is_refused(filled):
    with pytest.raises(RulesChanged):
        written_again(filled, lambda: erase(filled))

    assert scalar(filled, "SELECT count(*) FROM flow_instances WHERE key = %s", HERS[1]) == 0


def test_an_instance_that_was_written_again_during_its_erasure_is_removed_again(filled, monkeypatch):
    remove = PostgresErasure.remove
    passes = []

    def remove_while_a_writer_writes(self, *arguments, dry_run):
        passes.append(dry_run)
        if len(passes) > 1:
            return remove(self, *arguments, dry_run=dry_run)
        removed = []
        written_again(filled, lambda: removed.append(remove(self, *arguments, dry_run=dry_run)))
        return removed[0]

    monkeypatch.setattr(PostgresErasure, "remove", remove_while_a_writer_writes)

    erase(filled)

    assert passes == [False, False]
    assert scalar(filled, "SELECT count(*) FROM flow_instances WHERE key = %s", HERS[1]) == 0


def test_a_resend_of_an_erased_event_is_a_duplicate_and_stores_nothing(filled):
    erase(filled)
    before = dump(filled)
    resent = order(501, customer="CUST-1", day=days(3)[2])
    changed = msgspec.structs.replace(resent, body=resent.body.replace(b"10.50", b"99.00"))
    new = order(900, customer="CUST-2", day=days(3)[2])

    outcomes = store(filled, resent, changed, order(8), new)

    assert [outcome.status for outcome in outcomes] == ["duplicate", "duplicate", "duplicate", "stored"]
    assert not mentions(dump(filled).encode(), "CUST-1")
    assert len(dump(filled)) > len(before)


def test_a_dry_run_counts_and_changes_nothing(filled):
    before = dump(filled)

    with bootstrap.eraser(filled.settings) as eraser:
        counts = eraser.preview(ADA)

    assert counts["archive"] == 19
    assert counts["events"] == 13
    assert counts["dead_letters"] == 2
    assert dump(filled) == before


def test_a_value_of_the_payload_is_erased(archived):
    detail = {"order_id": "ORD-1", "customer": {"email": 'a"da@example.com'}}
    first, second = order(1), order(2)
    body = json.loads(first.body) | {"detail": detail}
    archived.ingest(msgspec.structs.replace(first, body=json.dumps(body).encode()), second)
    archived.archive.run(NOW)

    receipt = erase(archived, selector("customer.email", 'a"da@example.com'))

    assert (receipt.removed["events"], receipt.removed["archive"], receipt.left) == (1, 1, {})
    assert "example.com" not in dump(archived)
    assert len(archived.rows()) == 1


def test_what_a_scan_still_finds_is_in_the_receipt(archived):
    archived.ingest(order(1, customer="CUST-2"))
    with archived.pool.connection() as connection:
        connection.execute("UPDATE events SET subject = 'of CUST-1'")

    assert erase(archived).left == {"events": 1}


@pytest.mark.parametrize("chosen", [ADA, selector("customer", "CUST-1")])
def test_what_a_scan_still_finds_in_the_archive_is_in_the_receipt(archived, chosen):
    """The events are those of other customers: one names her elsewhere, and one has a longer name."""
    details = [
        {"customer_id": "CUST-2", "referred_by": "CUST-1"},
        {"customer_id": "CUST-11", "referred_by": "CUST-1-x"},
    ]
    archive_and_drop(archived, *details)

    assert erase(archived, chosen).left == {"archive": 1}


def archive_and_drop(archived, *details):
    """Archive an order with each of these payloads, and drop them from Postgres."""
    for number, detail in enumerate(details):
        delivery = order(number)
        body = json.loads(delivery.body) | {"detail": {"order_id": f"ORD-{number}", **detail}}
        archived.ingest(msgspec.structs.replace(delivery, body=json.dumps(body).encode()))
    archived.archive.run(NOW)
    archived.drop(FIRST)
    with archived.pool.connection() as connection:
        connection.execute("DELETE FROM frames")


@pytest.mark.parametrize("is_archived", [True, False])
def test_a_number_in_a_path_is_an_index_or_a_name_in_both_tiers(archived, is_archived):
    mail = {"email": "ada@example.com"}
    details = [{"items": [mail]}, {"items": {"0": mail}}, {"items": [{}, mail]}, {"a/b": [{"~": "ada@example.com"}]}]
    archive_and_drop(archived, *details)
    if not is_archived:
        archived.archive.restore(FIRST, FIRST)
    place = "archive" if is_archived else "events"

    for path, expected in (("items.0.email", 2), ("items.1.email", 1), ("a/b.0.~", 1)):
        with bootstrap.eraser(archived.settings) as eraser:
            assert eraser.preview(selector(path, "ada@example.com"))[place] == expected


@pytest.mark.parametrize("part", ["-1", "+1", "01", "00", " 1"])
def test_a_number_in_a_path_that_only_postgres_knows_is_refused(part):
    with pytest.raises(ConfigurationError, match="no sign and no leading zero"):
        selector(f"items.{part}.email", "ada@example.com")


def test_the_receipt_is_signed_and_in_the_audit_log_without_the_value(filled):
    receipt = erase(filled)

    assert receipt.is_authentic(SECRET)
    assert not receipt.is_authentic("t" * 32)
    assert not msgspec.structs.replace(receipt, removed={}).is_authentic(SECRET)
    assert "CUST-1" not in msgspec.json.encode(receipt).decode()
    assert msgspec.json.decode(msgspec.json.encode(receipt), type=Receipt).is_authentic(SECRET)
    (entry,) = PostgresReader(filled.pool).audit_log(action="erased", limit=5).items
    assert entry.subject == f"customer_id {receipt.subject[:16]}"
    assert "archive 19" in entry.detail


def test_a_file_stays_if_its_events_are_not_all_written_again(filled):
    before = filled.archive.manifest.files(FileFilter())
    lacking = r"source=aws/day=2025-11-01/.* does not have all the events"
    with lost_in_writing("aws-7"), pytest.raises(Retryable, match=lacking):
        erase(filled)

    assert filled.archive.manifest.files(FileFilter()) == before
    assert filled.archive.objects.paths() == {file.path for file in before}
    assert erase(filled).left == {}


def test_an_erasure_without_an_archive_erases_the_database(archived):
    fill(archived, of_days=1)
    settings = msgspec.structs.replace(archived.settings, archive_url=None)

    with bootstrap.eraser(settings) as eraser:
        receipt = eraser.erase(ADA, actor="tester", secret=SECRET, clock=lambda: NOW)

    assert (receipt.removed["events"], receipt.left) == (6, {})


@pytest.mark.parametrize(
    "use",
    [
        lambda eraser: eraser.preview(ADA),
        lambda eraser: eraser.erase(ADA, actor="tester", secret=SECRET, clock=lambda: NOW),
        lambda eraser: eraser.scan(ADA),
    ],
    ids=["a dry run", "an erasure", "a scan"],
)
def test_files_of_an_archive_that_is_not_set_are_not_passed_over(filled, use):
    before = filled.rows()

    with (
        bootstrap.eraser(msgspec.structs.replace(filled.settings, archive_url=None)) as eraser,
        pytest.raises(ConfigurationError, match="HELIOS_ARCHIVE_URL is not set, and the archive has 6 files"),
    ):
        use(eraser)

    assert filled.rows() == before
    assert scalar(filled, "SELECT count(*) FROM event_ids WHERE digest = 'erased'") == 0


def test_an_erasure_reads_the_flows_of_declared_sources(archived, tmp_path):
    flows, sources = tmp_path / "flows.toml", tmp_path / "sources.toml"
    sources.write_text('[[source]]\nname = "stripe"\npreset = "stripe"\n')
    legs = [f'[[flow.leg]]\nname = "{name}"\ntype = "Paid"\nsource = "{name}"\n' for name in ("aws", "stripe")]
    flows.write_text(
        '[[flow]]\nname = "paid"\nkey = "order_id"\nwindow_seconds = 1\ngrace_seconds = 1\n' + "".join(legs)
    )
    fill(archived, of_days=1)
    settings = msgspec.structs.replace(
        archived.settings, archive_url=None, flows_file=str(flows), sources_file=str(sources)
    )

    with bootstrap.eraser(settings) as eraser:
        receipt = eraser.erase(ADA, actor="tester", secret=SECRET, clock=lambda: NOW)

    assert receipt.left == {}


def test_an_erasure_while_the_archive_is_changed_is_refused(filled, monkeypatch):
    monkeypatch.setattr(archive, "PATIENCE_SECONDS", 0)
    with open_pool(filled.url, connections=1, timeout_seconds=10) as pool, PostgresLeases(pool).take(LEASE) as lease:
        assert lease
        with pytest.raises(Exception, match="Another process changes the archive"):
            erase(filled)
    assert mentions(dump(filled).encode(), "CUST-1")


@pytest.mark.parametrize(("field", "value"), [("", "x"), ("a", ""), ("a..b", "x")])
def test_a_field_and_a_value_are_required(field, value):
    with pytest.raises(ConfigurationError, match="A field and a value are required"):
        selector(field, value)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":"CUST-1"}', True),
        (b'{"a":"CUST-11"}', False),
        (b'{"a":"XCUST-1"}', False),
        (b'{\\"a\\":\\"CUST-1\\"}', True),
        (base64.b64encode(b'{"a":"CUST-1"}'), True),
        (base64.urlsafe_b64encode(b'{"a":"CUST-11"}'), False),
        (b"CUST-1", True),
        (b"", False),
    ],
)
def test_a_whole_word_is_found_also_in_base64(body, expected):
    assert mentions(body, "CUST-1") is expected


ESCAPED = [
    ('é"x', r'{"a":"é\"x"}'),
    ('é"x', r'{"a":"\u00e9\"x"}'),
    ('é"x', r'{"a":"\u00E9\u0022x"}'),  # as .NET does
    ("ada+x@example.com", r'{"a":"ada\u002Bx@example.com"}'),
    ("a/b", r'{"a":"a\/b"}'),  # as PHP does
    ("CUST-1", r'{"a":"Ada\nCUST-1'),
    ("CUST-1", r'{"a":"\u0027CUST-1\u0027"}'),
    ('é"x', json.dumps({"a": json.dumps({"b": json.dumps({"c": 'é"x'})})})),
    ("🜁x", r'{"a":"\uD83D\uDF01x"}'),
    ("back\\slash", r'{"a":"back\\slash"}'),
    ("two\nlines", r'{"a":"{\"b\":\"two\\nlines\"}"}'),
]


@pytest.mark.parametrize(("value", "body"), ESCAPED)
def test_a_word_is_found_as_json_escapes_it(value, body):
    for content in (body.encode(), base64.b64encode(b'{"b": ' + body.encode() + b"}")):
        assert mentions(content, value)
        assert any(needle in content for needle in needles(value)) or "\\\\" in body
    assert not mentions(body.encode(), value[:-1])


@pytest.mark.parametrize(("value", "body"), ESCAPED)
def test_a_scan_finds_a_word_as_json_escapes_it(archived, value, body):
    """In a text within the payload of an event, in Postgres and in the archive."""
    event = eventbridge_event("escaped", detail={"note": body})
    delivery = Delivery(channel="eventbridge", body=json.dumps(event).encode(), received_at=midnight(FIRST))
    archived.ingest(delivery)
    archived.archive.run(NOW)
    with bootstrap.eraser(archived.settings) as eraser:
        assert eraser.scan(Selector("detail.other", value)) == {"archive": 1, "events": 1}


def test_what_is_left_after_its_date_is_overdue():
    """A topic without a limit is never overdue, and a place that the receipt does not name always is."""
    later = NOW + timedelta(days=9)
    receipt = Receipt(
        field="order_id",
        subject="",
        at=NOW,
        actor="tester",
        removed={},
        left={},
        outstanding=(
            Outstanding(place="helios.events", until=later),
            Outstanding(place="helios.verdicts", until=None),
        ),
    )
    left = {"helios.events": 2, "helios.verdicts": 1, "events": 3}

    assert receipt.overdue(left, NOW) == {"events": 3}
    assert receipt.overdue(left, later) == {"helios.events": 2, "events": 3}


def test_a_receipt_of_an_earlier_version_stays_authentic():
    """It has no field for what is outstanding, and its signature is over the fields that it has."""
    receipt = Receipt(field="order_id", subject="", at=NOW, actor="tester", removed={}, left={}).signed(SECRET)

    assert b"outstanding" not in msgspec.json.encode(receipt)
    assert msgspec.json.decode(msgspec.json.encode(receipt), type=Receipt).is_authentic(SECRET)
    assert receipt.overdue({"events": 1}, NOW) == {"events": 1}
