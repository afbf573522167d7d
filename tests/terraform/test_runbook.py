"""The runbook in docs/operations.md has a row for every alarm, and none for alarms that do not exist."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WATCH = {"AWS ": "aws", "Google Cloud ": "gcp", "Azure ": "azure"}


def documented(cloud):
    """The alarms in the runbook's first column for a cloud; ``…-errors`` is an alarm of every function."""
    (text,) = re.findall(r"(?ms)^## Alarms\n(.*?)^## ", (ROOT / "docs/operations.md").read_text())
    rows = re.findall(rf"^\| {cloud}((?:`[^`]+`(?:, )?)+) \|", text, re.MULTILINE)
    return {name.removeprefix("…-") for row in rows for name in re.findall(r"`([^`]+)`", row)}


def declared(folder):
    """The alarms in a cloud's module, without the common part of their names."""
    code = (ROOT / f"infra/terraform/modules/{folder}/watch/main.tf").read_text()
    tables = re.findall(r'^    "([a-z-]+)" += \{$', code, flags=re.MULTILINE)
    single = re.findall(
        r'^ +(?:alarm|display)_name += "\$\{var\.name\}-(?:\$\{each\.key\}-)?([a-z-]+)"$', code, flags=re.MULTILINE
    )
    lists = re.findall(r"for metric in \[(.*?)\]", code)
    return {*tables, *single, *(metric.lower() for listed in lists for metric in re.findall(r"\w+", listed))}


@pytest.mark.parametrize(("cloud", "folder"), WATCH.items())
def test_every_alarm_of_a_cloud_is_in_the_runbook(cloud, folder):
    assert declared(folder) == documented(cloud)
    assert len(declared(folder)) >= 3


def test_every_alert_of_prometheus_is_in_the_runbook():
    groups = yaml.safe_load((ROOT / "infra/prometheus/alerts.yml").read_text())["groups"]
    assert {rule["alert"] for group in groups for rule in group["rules"]} == documented("")
