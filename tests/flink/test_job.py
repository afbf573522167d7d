"""A log that has gone quiet, and a new declaration that takes up the state of the old one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from helios.processes.process import ServiceFailed
from local.servers.apache_flink.job import submit
from tests.fixtures.flink import Stage
from tests.support.instances import sent

SECOND = timedelta(seconds=1)
LATER = timedelta(minutes=10)

FLOW = """
[[flow]]
name = "order"
key = "order_id"
window_seconds = {window}
grace_seconds = {grace}
"""
LEG = """
[[flow.leg]]
name = "{name}"
type = "{type}"
"""
LEGS = {"order": "OrderPlaced", "payment": "PaymentProcessed", "inventory": "InventoryReserved"}


def declare(file: Path, *legs: str, window: float = 30, grace: float = 60) -> Path:
    """A file that declares a flow with these legs."""
    text = FLOW.format(window=window, grace=grace)
    file.write_text(text + "".join(LEG.format(name=leg, type=LEGS[leg]) for leg in legs))
    return file


def leg(name: str, order: str, at: datetime):
    data = {"order_id": order}
    return sent("eventbridge", LEGS[name], data, id_=f"{order}/{name}", received_at=at, happened_at=at - SECOND)


@contextmanager
def clock(stage: Stage) -> Iterator[None]:
    """Heartbeats once a second, as the projector appends them."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(1):
            stage.heartbeat(datetime.now(UTC))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_missing_leg_is_reported_on_a_log_that_has_gone_quiet(stage, tmp_path):
    stage.start(flows=declare(tmp_path / "flows.toml", "order", "payment", window=3, grace=2))
    with clock(stage):
        stage.append([leg("order", "A", datetime.now(UTC))])
        stage.results.wait(lambda results: ("order", "A") in results.records())
        stage.results.wait(lambda results: results.records()["order", "A"].status == "incomplete")
    assert [record.status for record in stage.results.verdicts["order", "A"]] == ["open", "incomplete"]


def test_a_flow_with_one_more_leg_takes_up_a_savepoint(stage, tmp_path):
    start = datetime.now(UTC) - timedelta(hours=1)
    job = stage.start(flows=declare(tmp_path / "before.toml", "order", "payment"))
    stage.append([leg("order", "whole", start), leg("order", "lacking", start)])
    stage.results.wait(lambda results: len(results.records()) == 2)
    savepoint = job.savepoint(tmp_path / "savepoints")

    stage.start(flows=declare(tmp_path / "after.toml", "order", "payment", "inventory"), start=savepoint)
    stage.append([leg("payment", order, start + SECOND) for order in ("whole", "lacking")])
    stage.append([leg("inventory", "whole", start + 2 * SECOND)])
    stage.heartbeat(start + LATER)
    stage.results.wait(
        lambda results: (
            [results.records()["order", order].status for order in ("whole", "lacking")] == ["matched", "incomplete"]
        )
    )
    for order in ("whole", "lacking"):
        versions = [record.version for record in stage.results.verdicts["order", order]]
        assert versions == list(range(1, len(versions) + 1))


def test_the_job_runs_in_a_cluster_of_its_own_process(stage, tmp_path):
    """Two legs of an order, of which the last is missing soon after: the whole job in one process."""
    flows = declare(tmp_path / "flows.toml", "order", "payment", window=3, grace=2)
    start = datetime.now(UTC) - timedelta(hours=1)
    stage.append([leg("order", "A", start)])
    with stage.run(flows=flows):
        stage.heartbeat(start + LATER)
        stage.results.wait(lambda results: ("order", "A") in results.records())
        stage.results.wait(lambda results: results.records()["order", "A"].status == "incomplete")


def test_the_command_names_the_setting_that_is_missing(flink_cluster, tmp_path):
    with pytest.raises(ServiceFailed, match="HELIOS_LOG_BROKERS is not set"):
        submit(flink_cluster, settings={}, checkpoints=tmp_path, log=tmp_path / "submit.log")
