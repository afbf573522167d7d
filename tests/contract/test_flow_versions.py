"""The contract of flow versions: who edits at the same time, what is in force, and how every process takes it up."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from helios import bootstrap
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.flow_versions import PostgresFlowVersions
from helios.adapters.postgres.log import PostgresProjectionProgress, PostgresPublishedRules
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.errors import Rejected, RulesChanged
from helios.model.flows import FlowFilter
from helios.ports.unit_of_work import EventStore
from helios.reconciliation.declaration import load, parse_version, shipped_text
from helios.services.ingest import ingest
from helios.services.recompute import BATCH, RecomputeJob
from helios.services.rules import Rules
from helios.services.sweep import expire_flows
from tests.fakes.store import MemoryDedupeCache
from tests.support.deliveries import NOON, eventbridge
from tests.support.depth import examples
from tests.support.instances import leg
from tests.support.waiting import eventually

NOW = NOON + timedelta(hours=1)
SHIPPED = shipped_text()
LENIENT = SHIPPED.replace('within = "0.01"', 'within = "100"')
NO_RULES = SHIPPED.partition("[[flow.rule]]")[0]


class Notifier:
    def notify(self) -> None:
        """Nobody listens."""


@pytest.fixture
def versions(pool) -> PostgresFlowVersions:
    return PostgresFlowVersions(pool)


@pytest.fixture
def rules(versions) -> Rules:
    """The rules of a process that has started before anything was approved."""
    return Rules(load(), versions)


def save(versions, text=LENIENT, *, based_on=None, actor="kim"):
    return versions.save(parse_version(text).name, text, based_on=based_on, actor=actor, now=NOW)


def approve(versions, text=LENIENT, *, based_on=None):
    """Save, preview and approve a version."""
    saved = save(versions, text, based_on=based_on)
    versions.mark_previewed("order", saved.version, actor="lee", now=NOW)
    return versions.approve("order", saved.version, actor="lee", now=NOW)


def ingest_by(rules, store, *deliveries):
    def by_rules(reconciler):
        return ingest(deliveries, dedupe=NullDedupeCache(), store=store, reconciler=reconciler)

    return rules.apply(by_rules)


def statuses(store):
    return {row.key: row.status for row in store.flows(FlowFilter(), after=None, limit=500).items}


def differing(key="ORD-1"):
    """The legs of an order whose payment has another amount."""
    return [leg("order", key), leg("payment", key, amount=12.0), leg("inventory", key)]


def test_a_draft_is_previewed_approved_and_in_force(versions, postgres_store):
    saved = save(versions)
    assert (saved.version, saved.state, saved.saved_by, saved.text) == (1, "draft", "kim", LENIENT)
    assert versions.in_force().texts == {}

    versions.mark_previewed("order", 1, actor="lee", now=NOW)
    approved = versions.approve("order", 1, actor="lee", now=NOW)

    assert (approved.state, approved.approved_by, approved.recompute.finished_at) == ("in_force", "lee", None)
    assert versions.in_force().texts == {"order": LENIENT}
    assert versions.in_force().generation == 1
    log = postgres_store.audit_log(subject="flow order", limit=10).items
    assert [(entry.action, entry.actor, entry.detail) for entry in log] == [
        ("flow_version_approved", "lee", "version 1"),
        ("flow_version_previewed", "lee", "version 1"),
        ("flow_version_saved", "kim", "version 1"),
    ]


def test_a_withdrawn_flow_has_no_rules_and_its_instances_stay_as_they_are(versions, rules, postgres_store):
    """No batch by the withdrawn rules commits, no deadline passes any more, and the flow can be put in force again."""
    text = SHIPPED.replace('name = "order"\nkey', 'name = "copy"\nkey')
    alone = Rules([], versions)
    save(versions, text)
    versions.mark_previewed("copy", 1, actor="lee", now=NOW)
    versions.approve("copy", 1, actor="lee", now=NOW)
    alone.refresh()
    ingest_by(alone, postgres_store, leg("order"))
    behind = Rules([], versions)
    behind.refresh()

    withdrawn = versions.withdraw("copy", 1, actor="kim", now=NOW)

    assert (withdrawn.state, withdrawn.withdrawn_by, withdrawn.withdrawn_at) == ("withdrawn", "kim", NOW)
    assert versions.in_force().texts == {}
    assert versions.unfinished() == []
    ingest_by(behind, postgres_store, leg("payment"))  # a process that does not know it yet
    assert behind.evaluators.keys() == set()
    expire_flows(NOW, store=postgres_store, reconciler=alone.reconciler)
    stored = postgres_store.flow(("copy", "ORD-1"))
    assert (stored.status, stored.waiting, len(stored.evidence_set.items)) == ("open", False, 1)
    log = postgres_store.audit_log(subject="flow copy", limit=1).items
    assert [(entry.action, entry.actor) for entry in log] == [("flow_version_withdrawn", "kim")]

    with pytest.raises(Rejected, match="is not in force: it is withdrawn") as refused:
        versions.withdraw("copy", 1, actor="kim", now=NOW)
    assert refused.value.status == 409
    with pytest.raises(Rejected, match="was withdrawn: save its text"):
        versions.approve("copy", 1, actor="lee", now=NOW)
    assert versions.withdraw("copy", 2, actor="kim", now=NOW) is None
    save(versions, text, based_on=1)
    versions.mark_previewed("copy", 2, actor="lee", now=NOW)
    versions.approve("copy", 2, actor="lee", now=NOW)
    assert versions.in_force().texts == {"copy": text}


comments = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20), max_size=5)


@settings(
    max_examples=examples(20, long=500), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(comments, st.sampled_from(["\n", "\r\n"]), st.sampled_from([SHIPPED, LENIENT, NO_RULES]))
def test_the_export_of_any_text_is_that_text_and_declares_the_same_rules(versions, remarks, end, declared):
    lines = [*declared.splitlines(), *(f"# {remark}" for remark in remarks)]
    text = end.join(lines)
    latest = versions.versions("order", after=None, limit=1).items

    saved = save(versions, text, based_on=latest[0].version if latest else None)

    exported = versions.version("order", saved.version).text
    assert exported.encode() == text.encode()
    assert parse_version(exported) == parse_version(declared)


def test_a_version_is_not_approved_before_its_preview(versions):
    save(versions)
    with pytest.raises(Rejected, match="preview it first") as refused:
        versions.approve("order", 1, actor="lee", now=NOW)
    assert refused.value.status == 409


def test_the_second_of_two_editors_is_refused_with_what_to_do(versions):
    first = save(versions)
    save(versions, NO_RULES, based_on=first.version, actor="lee")

    with pytest.raises(Rejected, match=r"lee has saved version 2: compare .* based_on 2") as refused:
        save(versions, SHIPPED, based_on=first.version)

    assert refused.value.status == 409
    assert [(version.version, version.state) for version in versions.versions("order", after=None, limit=9).items] == [
        (2, "draft"),
        (1, "replaced"),
    ]


def test_of_many_editors_at_once_each_version_has_one(versions):
    def edit(number):
        try:
            return save(versions, actor=f"editor-{number}").version
        except Rejected:
            return None

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(edit, range(8)))

    assert [version for version in results if version] == [1]
    assert len(versions.versions("order", after=None, limit=9).items) == 1


def test_of_two_approvals_at_once_one_is_refused(versions):
    save(versions)
    versions.mark_previewed("order", 1, actor="lee", now=NOW)

    def press(actor):
        try:
            return versions.approve("order", 1, actor=actor, now=NOW).approved_by
        except Rejected as error:
            return error.status

    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(press, ("kim", "lee")))

    assert sorted(map(str, results)) in (["409", "kim"], ["409", "lee"])
    assert versions.in_force().generation == 1


def test_one_version_of_a_flow_is_in_force_and_the_history_says_which_were(versions):
    approve(versions)
    approve(versions, NO_RULES, based_on=1)

    states = [(version.version, version.state) for version in versions.versions("order", after=None, limit=9).items]
    assert states == [(2, "in_force"), (1, "superseded")]
    with pytest.raises(Rejected, match="save its text as a new version"):
        versions.approve("order", 1, actor="kim", now=NOW)


def test_the_history_has_pages(versions):
    for number in range(5):
        save(versions, based_on=number or None)
    first = versions.versions("order", after=None, limit=3)
    second = versions.versions("order", after=first.next_cursor, limit=3)
    assert [version.version for version in (*first.items, *second.items)] == [5, 4, 3, 2, 1]
    assert second.next_cursor is None


def test_a_process_evaluates_by_a_new_version_at_its_next_batch(versions, rules, postgres_store, pool):
    ingest_by(rules, PostgresStore(pool), *differing("ORD-1"))
    approve(versions)
    ingest_by(rules, PostgresStore(pool), *differing("ORD-2"))
    assert statuses(postgres_store) == {"ORD-1": "mismatched", "ORD-2": "matched"}


@pytest.mark.parametrize("size", [1, 60])
def test_the_store_refuses_a_batch_by_earlier_rules_and_writes_nothing(versions, rules, postgres_store, pool, size):
    approve(versions)
    batch = [leg("order", f"ORD-{number}") for number in range(size)]
    with pytest.raises(RulesChanged):
        ingest(batch, dedupe=MemoryDedupeCache(), store=PostgresStore(pool), reconciler=rules.reconciler)
    assert statuses(postgres_store) == {}
    assert postgres_store.totals(NOW).stored == 0


def test_the_store_refuses_events_of_no_flow_too_because_a_new_version_may_have_a_leg_for_them(versions, rules, pool):
    approve(versions)
    with pytest.raises(RulesChanged):
        ingest(
            [eventbridge("1", type_="Unknown")],
            dedupe=NullDedupeCache(),
            store=PostgresStore(pool),
            reconciler=rules.reconciler,
        )


def test_the_sweep_takes_up_a_new_version(versions, rules, postgres_store, pool):
    ingest_by(rules, PostgresStore(pool), leg("order"))
    approve(versions, SHIPPED.replace("grace_seconds = 60", "grace_seconds = 86400"))

    def by_rules(reconciler):
        return expire_flows(NOW, store=PostgresStore(pool), reconciler=reconciler)

    assert rules.apply(by_rules) == 0
    assert statuses(postgres_store) == {"ORD-1": "open"}


def test_an_approval_waits_for_batches_that_have_begun_and_sees_them(versions, rules, pool, postgres_store):
    """So the recompute, which starts after the approval, misses no instance of an earlier writer."""
    store, stored, go_on = PostgresStore(pool), threading.Event(), threading.Event()

    class Slow:
        """A store whose transaction pauses before its COMMIT."""

        def transaction(self) -> "Pausing":
            return Pausing(store.transaction(), stored, go_on)

    def write():
        return ingest(
            differing(),
            dedupe=NullDedupeCache(),
            store=cast(EventStore, Slow()),
            reconciler=rules.reconciler,
            also_write=noop,
        )

    saved = save(versions)
    versions.mark_previewed("order", saved.version, actor="lee", now=NOW)
    with ThreadPoolExecutor(2) as threads:
        writer = threads.submit(write)
        assert stored.wait(20)
        approval = threads.submit(versions.approve, "order", saved.version, actor="lee", now=NOW)
        eventually(lambda: waits_for_lock(pool))
        assert not approval.done()
        go_on.set()
        assert [outcome.status for outcome in writer.result(20)] == ["stored"] * 3
        assert approval.result(20).state == "in_force"
    assert statuses(postgres_store) == {"ORD-1": "mismatched"}


def noop(_work, _outcomes):
    """Write nothing more; its presence lets a batch be stored by a unit of work."""


class Pausing:
    """A unit of work that is complete and waits for its COMMIT."""

    def __init__(self, work, stored, go_on):
        self._context, self._stored, self._go_on = work, stored, go_on

    def __enter__(self):
        self._work = self._context.__enter__()
        return self._work

    def __exit__(self, *error):
        if error[0] is None:
            self._work.sync()
            self._stored.set()
            assert self._go_on.wait(20)
        return self._context.__exit__(*error)


def waits_for_lock(pool):
    with pool.connection() as connection:
        ((waiting,),) = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        ).fetchall()
    return waiting > 0


def job_of(versions, rules, postgres_store, pool):
    return RecomputeJob(versions, rules, reader=postgres_store, store=PostgresStore(pool), notifier=Notifier())


def test_the_recompute_repairs_what_was_judged_before(versions, rules, postgres_store, pool):
    ingest_by(rules, PostgresStore(pool), *differing())
    approve(versions)

    assert job_of(versions, rules, postgres_store, pool).run(NOW, seconds=60) == 1

    assert statuses(postgres_store) == {"ORD-1": "matched"}
    progress = versions.version("order", 1).recompute
    assert (progress.events, progress.instances, progress.finished_at) == (3, 1, NOW)
    assert job_of(versions, rules, postgres_store, pool).run(NOW, seconds=60) == 0


def test_an_interrupted_recompute_goes_on_where_it_was(versions, rules, postgres_store, pool):
    orders = BATCH // 2
    for number in range(orders):
        ingest_by(rules, PostgresStore(pool), *differing(f"ORD-{number}"))
    approve(versions)

    # The time is over after the first page, again and again.
    turns = 0
    while versions.unfinished():
        job_of(versions, rules, postgres_store, pool).run(NOW, seconds=0.000001)
        turns += 1
        if turns == 1:
            assert 0 < versions.version("order", 1).recompute.events < 3 * orders

    assert turns == 2
    assert set(statuses(postgres_store).values()) == {"matched"}
    assert versions.version("order", 1).recompute.events == 3 * orders


def test_a_recompute_of_a_superseded_version_ends(versions, rules, postgres_store, pool):
    ingest_by(rules, PostgresStore(pool), *differing())
    approve(versions)
    approve(versions, SHIPPED, based_on=1)

    assert [(each.flow, each.version) for each in versions.unfinished()] == [("order", 2)]
    job_of(versions, rules, postgres_store, pool).run(NOW, seconds=60)

    assert statuses(postgres_store) == {"ORD-1": "mismatched"}


def test_a_flow_of_the_file_is_not_replaced_by_a_version(versions, postgres_store, pool):
    approve(versions)
    owned = Rules(load(), versions, file="flows.toml")
    ingest_by(owned, PostgresStore(pool), *differing())
    assert statuses(postgres_store) == {"ORD-1": "mismatched"}
    assert owned.unreadable == {"order"}


def test_a_version_that_this_process_can_not_read_leaves_the_earlier_rules(versions, postgres_store, pool, caplog):
    rules = Rules(load(), versions)
    save(versions, SHIPPED)
    versions.mark_previewed("order", 1, actor="lee", now=NOW)
    with pool.connection() as connection:
        connection.execute("UPDATE flow_versions SET text = replace(text, 'aws', 'unknown-source')")
    versions.approve("order", 1, actor="lee", now=NOW)

    ingest_by(rules, PostgresStore(pool), *differing())

    assert statuses(postgres_store) == {"ORD-1": "mismatched"}
    assert "a flow version does not apply here" in caplog.text
    assert job_of(versions, rules, postgres_store, pool).run(NOW, seconds=60) == 0
    assert versions.unfinished()


@pytest.mark.parametrize(
    ("engine", "event_store", "finishes"),
    [("flink", "postgres", True), ("flink", "archive", False), ("postgres", "archive", True)],
)
def test_a_function_leaves_the_recompute_of_archived_events_to_the_api(
    versions, pool, database_url, tmp_path, engine, event_store, finishes
):
    """It reads no archive, and would find no event. Where Postgres judges, it has the events, whatever the setting."""
    approve(versions)
    PostgresPublishedRules(pool).raise_published(1, NOW)
    PostgresProjectionProgress(pool).raise_projected_until(NOW + timedelta(minutes=1))
    settings = {
        "HELIOS_DATABASE_URL": database_url,
        "HELIOS_ENGINE": engine,
        "HELIOS_LOG_BROKERS": "127.0.0.1:1",
        "HELIOS_EVENT_STORE": event_store,
        "HELIOS_ARCHIVE_URL": str(tmp_path),
    }
    services = bootstrap.build(bootstrap.configure(settings))
    bootstrap.sweep_alone(services, NOW)
    services.listener.close()
    services.close()

    assert (versions.version("order", 1).recompute.finished_at is not None) == finishes


class Silent:
    """A log that takes everything."""

    def append(self, messages) -> None: ...

    def probe(self) -> None: ...

    def close(self) -> None: ...


def test_with_flink_no_instance_of_a_withdrawn_flow_waits(versions, rules, postgres_store, pool):
    """A record that was on its way arrives after the withdrawal. Those of other flows go on waiting."""
    versions.save(
        "copy", SHIPPED.replace('name = "order"\nkey', 'name = "copy"\nkey'), based_on=None, actor="kim", now=NOW
    )
    versions.mark_previewed("copy", 1, actor="lee", now=NOW)
    versions.approve("copy", 1, actor="lee", now=NOW)
    rules.refresh()
    ingest_by(rules, postgres_store, leg("order"))
    late = postgres_store.flow(("copy", "ORD-1"))
    assert late.waiting
    versions.withdraw("copy", 1, actor="kim", now=NOW)
    ended = postgres_store.flow(late.identity)
    with postgres_store.transaction() as work:
        work.flows.write([replace(late, version=ended.version + 1)])
    job = RecomputeJob(
        versions, rules, reader=postgres_store, store=PostgresStore(pool), notifier=Notifier(), log=Silent()
    )

    assert (job.run(NOW, seconds=60), job.run(NOW, seconds=60)) == (0, 0)

    stored = [postgres_store.flow((flow, "ORD-1")) for flow in ("copy", "order")]
    assert [(each.status, each.waiting) for each in stored] == [("open", False), ("open", True)]


def test_with_flink_the_recompute_waits_until_the_job_judges_by_the_version(versions, rules, postgres_store, pool):
    ingest_by(rules, PostgresStore(pool), *differing())
    approve(versions)
    published, progress = PostgresPublishedRules(pool), PostgresProjectionProgress(pool)
    job = RecomputeJob(
        versions,
        rules,
        reader=postgres_store,
        store=PostgresStore(pool),
        notifier=Notifier(),
        is_due=published.are_taken,
    )
    assert job.run(NOW, seconds=60) == 0
    published.raise_published(1, NOW)
    assert job.run(NOW, seconds=60) == 0
    progress.raise_projected_until(NOW + timedelta(seconds=5))
    assert job.run(NOW, seconds=60) == 0
    progress.raise_projected_until(NOW + timedelta(seconds=6))
    published.raise_published(1, NOW + timedelta(hours=1))  # the same rules, published once more

    assert job.run(NOW, seconds=60) == 1

    assert statuses(postgres_store) == {"ORD-1": "matched"}
