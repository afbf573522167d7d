"""A version that reads more evidence: Postgres, the topic of verdicts and the state of the job agree in the end."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from helios import bootstrap
from helios.bootstrap.jobs import recompute_job
from helios.bootstrap.services import Services
from helios.reconciliation.record import FlowKey, FlowRecord
from tests.fixtures.flink import WAIT_SECONDS, Stage
from tests.support.instances import sent
from tests.support.waiting import eventually

TEXT = """
[[flow]]
name = "refund"
key = "order_id"
window_seconds = {window}
grace_seconds = 0
"""
LEG = '[[flow.leg]]\nname = "{0}"\ntype = "{0}"\n'
ORDERS = ("unpaid", "waiting", "whole")
LEGS = ("asked", "paid", "booked")


@pytest.fixture
def services(stage: Stage, database_url: str) -> Iterator[Services]:
    """Those of a process that runs the sweep."""
    running = bootstrap.build(
        bootstrap.configure({"HELIOS_ENGINE": "flink", "HELIOS_DATABASE_URL": database_url, **stage.settings(None)})
    )
    yield running
    running.listener.close()
    running.close()


def approve(services: Services, *legs: str, based_on: int | None, window: float) -> None:
    """Put the next version of the flow in force."""
    text = TEXT.format(window=window) + "".join(map(LEG.format, legs))
    now = datetime.now(UTC)
    version = services.versions.save("refund", text, based_on=based_on, actor="test", now=now)
    assert services.versions.mark_previewed("refund", version.version, actor="test", now=now)
    assert services.versions.approve("refund", version.version, actor="test", now=now)


def stored(services: Services) -> dict[FlowKey, FlowRecord]:
    """The records in Postgres, without their versions."""
    with services.store.transaction() as work:
        records = work.flows.find([("refund", order) for order in ORDERS]).result()
    return {identity: replace(record, version=0) for identity, record in records.items()}


def statuses(services: Services) -> dict[str, str]:
    """The verdicts in Postgres."""
    return {key: record.status for (_, key), record in stored(services).items()}


def test_orders_from_before_an_approval_are_judged_by_all_of_their_evidence(stage, services, database_url):
    """The version adds a leg and shortens the deadline. Later deliveries meet the state of the job."""
    created = datetime.now(UTC)
    stage.start()
    stage.projector(database_url)
    recompute = recompute_job(services)
    assert recompute

    def is_recomputed() -> bool:
        recompute.run(datetime.now(UTC), seconds=20)
        return not unfinished(services)

    approve(services, *LEGS[:2], based_on=None, window=3600)
    eventually(is_recomputed, seconds=WAIT_SECONDS)

    def append(order: str, *legs: str) -> None:
        now = datetime.now(UTC)
        for leg in legs:
            data, id_ = {"order_id": order}, f"{order}/{leg}"
            stage.append([sent("eventbridge", leg, data, id_=id_, received_at=now, happened_at=created)])

    append("whole", *LEGS)
    append("unpaid", "asked", "booked")
    append("waiting", "asked")
    eventually(
        lambda: statuses(services) == {"whole": "matched", "unpaid": "open", "waiting": "open"}, seconds=WAIT_SECONDS
    )
    approve(services, *LEGS, based_on=1, window=1)
    eventually(is_recomputed, seconds=WAIT_SECONDS)
    eventually(lambda: statuses(services)["waiting"] == "incomplete", seconds=WAIT_SECONDS)

    append("whole", "paid")
    append("unpaid", "paid")
    eventually(
        lambda: (
            statuses(services) == {"whole": "matched", "unpaid": "matched_late", "waiting": "incomplete"}
            and stored(services)["refund", "whole"].issues == ["duplicate"]
        ),
        seconds=WAIT_SECONDS,
    )
    stage.results.wait(
        lambda results: (
            {
                identity: replace(record, version=0)
                for identity, record in results.records().items()
                if identity[0] == "refund"
            }
            == stored(services)
        )
    )
    for records in stage.results.verdicts.values():
        assert [record.version for record in records] == list(range(1, len(records) + 1))
    assert "matched" not in {record.status for record in stage.results.verdicts["refund", "unpaid"]}


def unfinished(services: Services) -> int:
    """The number of recomputes that have not finished."""
    return sum(
        version.recompute is not None and version.recompute.finished_at is None
        for version in services.versions.versions("refund", after=None, limit=50).items
    )
