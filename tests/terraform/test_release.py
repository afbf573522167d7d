"""The release of new versions on an emulated AWS: a part of the calls, then all, and back while an alarm fires.

The emulator has aliases, versions and alarms. It does not divide the calls of a weighted alias, which AWS does.
"""

import contextlib
import io
import json
import zipfile

import pytest

from helios.processes.ports import free_port
from local.aws import resources
from local.aws.ministack import Ministack
from scripts.deploy.plan import StepFailed
from scripts.deploy.release import ALIAS, KEPT, LambdaRelease
from scripts.deploy.stages import SHARE

FUNCTIONS = ("helios-ingest", "helios-api")


def package(text):
    """A zip of a function that returns this text."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("handler.py", f"def handler(event, context):\n    return {text!r}\n")
    return file.getvalue()


class Account:
    """The functions and alarms of an emulated account."""

    def __init__(self, url, stack):
        self.functions, self.alarms = (
            stack.enter_context(contextlib.closing(resources.client(service, url)))
            for service in ("lambda", "cloudwatch")
        )

    def create(self):
        """Create each function with its alias on version 1, as Terraform does."""
        for name in FUNCTIONS:
            self.functions.create_function(
                FunctionName=name,
                Runtime="python3.11",
                Role="arn:aws:iam::000000000000:role/one",
                Handler="handler.handler",
                Code={"ZipFile": package("version 1")},
                Publish=True,
            )
            self.functions.create_alias(FunctionName=name, Name=ALIAS, FunctionVersion="1")

    def publish(self, name):
        """Publish the next version, which nothing calls yet; its number."""
        number = len(self.functions.list_versions_by_function(FunctionName=name)["Versions"])
        answer = self.functions.update_function_code(
            FunctionName=name, ZipFile=package(f"version {number}"), Publish=True
        )
        return answer["Version"]

    def alias(self, name):
        """The version of the alias, and the shares of other versions."""
        alias = self.functions.get_alias(FunctionName=name, Name=ALIAS)
        return alias["FunctionVersion"], alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})

    def called(self, name):
        """What a call through the alias returns."""
        return json.load(self.functions.invoke(FunctionName=name, Qualifier=ALIAS)["Payload"])

    def alarm(self, name, state):
        """Create an alarm in this state."""
        self.alarms.put_metric_alarm(
            AlarmName=name,
            Namespace="AWS/Lambda",
            MetricName="Errors",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            ComparisonOperator="GreaterThanThreshold",
            Threshold=0,
        )
        self.alarms.set_alarm_state(AlarmName=name, StateValue=state, StateReason="the test says so")

    def release(self, wait=lambda _: None):
        """A release that waits with this function."""
        return LambdaRelease(self.functions, self.alarms, "helios", wait=wait)


@pytest.fixture
def account(tmp_path):
    """An account whose functions run version 1."""
    with Ministack(tmp_path, free_port(), log=tmp_path / "aws.log") as server, contextlib.ExitStack() as stack:
        made = Account(server.url, stack)
        made.create()
        yield made


def test_the_new_version_gets_a_part_of_the_calls_then_all_and_can_be_taken_back(account):
    newest = {name: account.publish(name) for name in FUNCTIONS}
    assert account.called("helios-api") == "version 1"
    account.alarm("other-errors", "ALARM")  # another deployment's
    stages = []
    account.release(wait=lambda _: stages.append(account.alias("helios-api"))).run(newest, minutes=0.1)
    assert stages == [("1", {"2": SHARE}), ("2", {})]
    assert {name: account.alias(name) for name in FUNCTIONS} == dict.fromkeys(FUNCTIONS, ("2", {}))
    assert account.called("helios-api") == "version 2"

    release = account.release()
    assert release.previous(FUNCTIONS) == dict.fromkeys(FUNCTIONS, "1")
    release.run(release.previous(FUNCTIONS), minutes=0)
    assert account.called("helios-ingest") == "version 1"


@pytest.mark.parametrize("stage", [1, 2])
def test_an_alarm_takes_every_function_back(account, stage):
    """In the first stage, and in the second, when the new version gets all calls."""
    newest = {name: account.publish(name) for name in FUNCTIONS}
    waits = []

    def wait(_):
        waits.append(account.alias("helios-ingest"))
        if len(waits) == stage:
            account.alarm("helios-ingest-errors", "ALARM")

    with pytest.raises(StepFailed, match="the new version was not released: helios-ingest-errors fired"):
        account.release(wait).run(newest, minutes=0.1)
    assert len(waits) == stage
    assert {name: account.alias(name) for name in FUNCTIONS} == dict.fromkeys(FUNCTIONS, ("1", {}))


def test_an_interruption_takes_every_function_back(account):
    newest = {name: account.publish(name) for name in FUNCTIONS}

    def wait(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        account.release(wait).run(newest)
    assert {name: account.alias(name) for name in FUNCTIONS} == dict.fromkeys(FUNCTIONS, ("1", {}))


def test_nothing_is_released_while_an_alarm_fires_already(account):
    newest = {name: account.publish(name) for name in FUNCTIONS}
    account.alarm("helios-dead-letters", "ALARM")
    with pytest.raises(StepFailed, match="nothing was released: helios-dead-letters fires already"):
        account.release().run(newest)
    account.release().run(newest, minutes=0)  # --now
    assert account.called("helios-api") == "version 2"


def test_a_function_without_a_new_version_stays_and_old_versions_are_removed(account):
    for _ in range(KEPT + 1):
        newest = {"helios-api": account.publish("helios-api"), "helios-ingest": "1"}
    account.release().run(newest, minutes=0)
    assert account.alias("helios-ingest") == ("1", {})
    versions = account.functions.list_versions_by_function(FunctionName="helios-api")["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", *map(str, range(3, KEPT + 3))]
