"""A log that has gone quiet, and a new declaration that takes up the state of the old one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from helios.messages import encode_erasure, encode_heartbeat, encode_rules
from helios.model.flow_versions import InForce
from helios.processes.process import ServiceFailed
from helios.services.heartbeat import BEAT_SECONDS
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


def text_of(*legs: str, window: float = 30, grace: float = 60) -> str:
    """The text that declares a flow with these legs."""
    return FLOW.format(window=window, grace=grace) + "".join(LEG.format(name=leg, type=LEGS[leg]) for leg in legs)


def declare(file: Path, *legs: str, window: float = 30, grace: float = 60) -> Path:
    """A file that declares a flow with these legs."""
    file.write_text(text_of(*legs, window=window, grace=grace))
    return file


def announce(stage: Stage, generation: int, at: datetime, **texts: str) -> None:
    """Append the versions in force, as the projector does, and return once the job judges by them."""
    _, value = encode_rules(InForce(generation=generation, texts=texts))
    stage.append_value(value, at=at)
    stage.heartbeat(at)  # a partition that has been idle would not hold up the time
    stage.wait_judged()


def leg(name: str, order: str, at: datetime):
    data = {"order_id": order}
    return sent("eventbridge", LEGS[name], data, id_=f"{order}/{name}", received_at=at, happened_at=at - SECOND)


def test_a_missing_leg_is_reported_on_a_log_that_has_gone_quiet(stage, tmp_path):
    """The deadline is 5 s after the leg. The last heartbeat of the 10 s after that suffices, in the log's time."""
    start = datetime.now(UTC) - timedelta(hours=1)
    stage.start(flows=declare(tmp_path / "flows.toml", "order", "payment", window=3, grace=2))
    stage.append([leg("order", "A", start)])
    stage.heartbeat(start + 4 * SECOND)
    stage.results.wait(lambda results: ("order", "A") in results.records())
    stage.heartbeat(start + 5 * SECOND + (10 - BEAT_SECONDS) * SECOND)
    stage.results.wait(lambda results: results.statuses("order", "A") == ["incomplete"])
    assert [record.status for record in stage.results.verdicts["order", "A"]] == ["open", "incomplete"]


def test_a_message_without_a_value_becomes_a_dead_letter_and_stops_no_other(stage, tmp_path):
    start = datetime.now(UTC) - timedelta(hours=1)
    stage.start(flows=declare(tmp_path / "flows.toml", "order"))
    stage.append_value(None, at=start, key="A", partition=0)
    stage.append_value(encode_heartbeat(start), at=start, partition=0)
    stage.append([leg("order", "A", start)])
    stage.results.wait(lambda results: results.statuses("order", "A") == ["matched"] and results.dead_letters)
    (dead_letter,) = stage.results.dead_letters
    assert "is no message of an edge" in dead_letter.reason
    assert dead_letter.body == b""
    stage.wait_judged()


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
    stage.results.wait(lambda results: results.statuses("order", "whole", "lacking") == ["matched", "incomplete"])
    for order in ("whole", "lacking"):
        versions = [record.version for record in stage.results.verdicts["order", order]]
        assert versions == list(range(1, len(versions) + 1))


def test_an_approved_version_takes_effect_without_a_restart_and_survives_one(stage, tmp_path):
    """Two tasks; a flow that no declaration has, a longer deadline, and the end of the flow."""
    refund = text_of("order", "payment", window=30, grace=0).replace('"order"\nkey', '"refund"\nkey')
    patient = refund.replace("window_seconds = 30", "window_seconds = 300")
    start = datetime.now(UTC) - timedelta(hours=1)
    job = stage.start(parallelism=2)
    announce(stage, 1, start, refund=refund)
    stage.append([leg("order", name, start) for name in ("whole", "late", "lacking")])
    stage.results.wait(lambda results: results.statuses("refund", "whole", "late", "lacking") == ["open"] * 3)
    savepoint = job.savepoint(tmp_path / "savepoints")

    stage.start(start=savepoint)
    stage.append([leg("payment", "whole", start + SECOND)])
    stage.results.wait(lambda results: results.statuses("refund", "whole") == ["matched"])
    announce(stage, 2, start + SECOND, refund=patient)
    stage.append([leg("payment", "late", start + 200 * SECOND)])
    stage.heartbeat(start + 400 * SECOND)
    stage.results.wait(lambda results: results.statuses("refund", "late", "lacking") == ["matched", "incomplete"])
    assert [record.status for record in stage.results.verdicts["refund", "lacking"]] == ["open", "incomplete"]

    announce(stage, 3, start + 400 * SECOND)
    stage.append([leg("order", "gone", start + 401 * SECOND)])
    stage.wait_judged()
    stage.results.wait(lambda results: len(results.events) == 6)
    assert ("refund", "gone") not in stage.results.records()


def test_the_state_forgets_what_was_erased(stage, tmp_path):
    """A leg that arrives afterwards is judged alone, and the erased event is no evidence when it is delivered again."""
    stage.start(flows=declare(tmp_path / "flows.toml", "order", "payment"))
    start = datetime.now(UTC) - timedelta(hours=1)
    orders = {name: leg("order", name, start) for name in ("erased", "other")}
    stage.append(list(orders.values()))
    stage.results.wait(lambda results: len(results.records()) == len(results.events) == 2)
    (event,) = (event for event in stage.results.events if event.id == "erased/order")

    at = start + 5 * SECOND
    stage.append_value(encode_erasure([event.key], [("order", "erased")])[1], at=at)
    stage.heartbeat(start + 15 * SECOND)
    stage.wait_judged()
    late = start + 20 * SECOND
    stage.append([replace(orders["erased"], received_at=late)])
    stage.append([leg("payment", name, late) for name in orders])
    stage.heartbeat(start + LATER)
    stage.results.wait(lambda results: results.statuses("order", *orders) == ["incomplete", "matched"])
    erased = stage.results.records()["order", "erased"].evidence_set
    assert [item.leg for item in erased.items] == ["payment"]


def test_the_job_runs_in_a_cluster_of_its_own_process(stage, tmp_path):
    """Two legs of an order, of which the last is missing soon after: the whole job in one process."""
    flows = declare(tmp_path / "flows.toml", "order", "payment", window=3, grace=2)
    start = datetime.now(UTC) - timedelta(hours=1)
    stage.append([leg("order", "A", start)])
    with stage.run(flows=flows):
        stage.heartbeat(start + LATER)
        stage.results.wait(lambda results: ("order", "A") in results.records())
        stage.results.wait(lambda results: results.statuses("order", "A") == ["incomplete"])


def test_the_command_names_the_setting_that_is_missing(flink_cluster, tmp_path):
    with pytest.raises(ServiceFailed, match="HELIOS_LOG_BROKERS is not set"):
        submit(flink_cluster, settings={}, checkpoints=tmp_path, log=tmp_path / "submit.log")
