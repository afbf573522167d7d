"""Whoever is woken by an alarm finds what to do: docs/operations.md has a row for each, and no other."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WATCH = {"AWS ": "aws", "Google Cloud ": "gcp", "Azure ": "azure"}


def told(cloud):
    """The alarms that the runbook's first column names for a cloud; ``…-errors`` is one of every function."""
    text = (ROOT / "docs/operations.md").read_text()
    rows = re.findall(rf"^\| {cloud}((?:`[^`]+`(?:, )?)+) \|", text, re.MULTILINE)
    return {name.removeprefix("…-") for row in rows for name in re.findall(r"`([^`]+)`", row)}


def declared(folder):
    """The alarms that a cloud's module makes, by the names that distinguish them."""
    code = (ROOT / f"infra/terraform/modules/{folder}/watch/main.tf").read_text()
    tables = re.findall(r'^    "([a-z-]+)" += \{$', code, flags=re.MULTILINE)
    alone = re.findall(r'^ +alarm_name += "\$\{var\.name\}-(?:\$\{each\.key\}-)?([a-z-]+)"$', code, flags=re.MULTILINE)
    lists = re.findall(r"for metric in \[(.*?)\]", code)
    return {*tables, *alone, *(metric.lower() for listed in lists for metric in re.findall(r"\w+", listed))}


@pytest.mark.parametrize(("cloud", "folder"), WATCH.items())
def test_every_alarm_of_a_cloud_is_in_the_runbook(cloud, folder):
    assert declared(folder) == told(cloud)
    assert len(declared(folder)) >= 3


def test_every_alert_of_prometheus_is_in_the_runbook():
    groups = yaml.safe_load((ROOT / "local/prometheus/alerts.yml").read_text())["groups"]
    assert {rule["alert"] for group in groups for rule in group["rules"]} == told("")
