"""What the state of the job forgets, and when: in days of the log."""

from datetime import UTC, datetime, timedelta

from helios.messages import encode_delivery
from helios.model.events import Delivery
from helios.model.retention import MAX_AHEAD
from tests.fixtures.flink import Results, Stage
from tests.support.instances import sent

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HORIZON = 7 * DAY
FLOW = """
[[flow]]
name = "{0}"
key = "{0}_id"
window_seconds = {1}
grace_seconds = {1}
[[flow.leg]]
name = "asked"
type = "asked"
[[flow.leg]]
name = "paid"
type = "paid"
"""


def asked(name: str, at: datetime, *, happened_at: datetime | None = None) -> Delivery:
    """The first leg of an instance of both flows."""
    data = {"hasty_id": name, "patient_id": name}
    return sent("eventbridge", "asked", data, id_=name, received_at=at, happened_at=happened_at or at)


def versions(results: Results, flow: str) -> list[int]:
    """Those of the records of the instance, in turn."""
    return [record.version for record in results.verdicts[flow, "A"]]


def pass_time(stage: Stage, at: datetime) -> None:
    """Let the time of the log pass, and return once the job has acted on it."""
    stage.heartbeat(at + timedelta(seconds=10))
    stage.wait_judged()


def test_the_state_forgets_identities_records_and_counts_at_their_time_and_no_record_that_waits(stage, tmp_path):
    """A flow waits for a week longer than the horizon, and the time of an event is ahead by most of a day."""
    flows = tmp_path / "flows.toml"
    flows.write_text(FLOW.format("hasty", 30) + FLOW.format("patient", HORIZON.total_seconds()))
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 20 * DAY
    stage.start(flows=flows, retention="unarchived_events=7 ids=7")
    ahead = start + 20 * HOUR
    stage.append([asked("A", start, happened_at=ahead)])
    pass_time(stage, start + HOUR)
    stage.results.wait(lambda results: results.statuses("hasty", "A") == ["incomplete"])

    again = start + HORIZON + 2 * HOUR
    pass_time(stage, again)
    stage.append([asked("A", again, happened_at=ahead)])
    stage.results.wait(lambda results: results.total().duplicate == 1 and versions(results, "hasty")[2:] == [1])
    stage.results.wait(lambda results: versions(results, "patient") == [1, 2])
    assert stage.results.total().stored == 1

    late = start + HORIZON + MAX_AHEAD + 2 * HOUR
    pass_time(stage, late)
    accepted = encode_delivery(asked("A", start, happened_at=ahead), accept=True)
    stage.append_value(accepted, at=late)
    pass_time(stage, late + HOUR)
    stage.results.wait(lambda results: len(results.events) == 2)

    pass_time(stage, start + 15 * DAY)
    stage.results.wait(lambda results: results.statuses("patient", "A") == ["incomplete"])
    assert stage.results.total().stored == 1
