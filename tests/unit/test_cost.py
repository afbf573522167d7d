"""``helios cost``: the estimate, its price facts, and the documents that quote it."""

import json
import re
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from helios.__main__ import main
from helios.cli import cost

ROOT = Path(__file__).parents[2]
LOAD = cost.Workload(
    events_per_second=100,
    watchers=5,
    shares={"aws": 0.4, "gcp": 0.3, "azure": 0.3},
    acu=2,
    retention_days=30,
    archive_days=365,
    archive_read_gb=10,
)
FLINK = msgspec.structs.replace(LOAD, engine="flink")


def printed(capsys, *arguments: str) -> str:
    assert main(["cost", *arguments]) == 0
    return capsys.readouterr().out


def total(**changes: object) -> float:
    load = msgspec.structs.replace(LOAD, **changes)
    return sum(item.usd for item in cost.items(load, cost.Prices()))


def test_the_documented_estimate_is_the_printed_one(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    document = (ROOT / "docs/deploy.md").read_text()
    (command, quoted) = re.findall(r"```bash\nhelios (cost .*)\n```\n\n```text\n(.*?)```", document, re.DOTALL)[0]
    assert main(command.split()) == 0
    output = "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines())
    assert quoted == output


def test_every_fact_has_a_source_and_is_used():
    class Recorded(cost.Prices):
        used: ClassVar[set[str]] = set()

        def of(self, name: str, units: float) -> float:
            self.used.add(name)
            return super().of(name, units)

    prices = Recorded()
    cost.items(FLINK, prices)
    assert prices.used == prices.facts.keys()
    assert all(fact.source and fact.usd > 0 for fact in prices.facts.values())
    assert re.fullmatch(r"\d{4}-\d\d", prices.read)


def test_the_engine_of_flink_adds_brokers_storage_and_processing_units():
    def of(load: cost.Workload) -> dict[str, float]:
        postgres = {item.what for item in cost.items(msgspec.structs.replace(load, engine="postgres"), cost.Prices())}
        return {item.what: round(item.usd) for item in cost.items(load, cost.Prices()) if item.what not in postgres}

    assert of(FLINK) == {
        "log, 3 brokers": round(3 * 730 * 0.204),
        "log, 653 GB of storage": 65,
        "Flink, 1 + 1 processing units": round(2 * 730 * 0.11),
        "Flink, 119 GB of state": 7,
    }
    large = of(msgspec.structs.replace(FLINK, events_per_second=10_000, retention_days=1))
    assert {"log, 9 brokers", "Flink, 34 + 1 processing units", "Flink, 397 GB of state"} <= large.keys()
    assert large["Flink, 397 GB of state"] == 0


def test_a_watcher_of_a_thousand_events_a_second_costs_seventy_dollars():
    """5 messages of 32 KB a second are 13 million messages and 420 GB a month."""
    busy = {"events_per_second": 1000}
    watcher = total(**busy, watchers=2) - total(**busy, watchers=1)
    assert watcher == pytest.approx(13.14 + 0.01 + 420.5 * (0.045 + 0.09), rel=0.01)


def test_the_events_of_a_cloud_cost_what_its_own_prices_say():
    def of(cloud: str, what: str) -> float:
        (item,) = [item for item in cost.items(LOAD, cost.Prices()) if (item.cloud, item.what) == (cloud, what)]
        return item.usd

    million = 2.628  # events a month of one event a second
    assert of("aws", "event bus") == pytest.approx(40 * million * 1.00)
    assert of("gcp", "Pub/Sub") == pytest.approx(30 * million * 0.0728, rel=0.01)
    assert of("azure", "Event Grid") == pytest.approx(30 * million * 1.20)
    assert of("aws", "database, capacity") == pytest.approx(2 * 730 * 0.12)


def test_a_year_in_the_archive_is_a_month_in_s3_and_eleven_in_glacier():
    def of(load: cost.Workload) -> dict[str, float]:
        return {item.what: item.usd for item in cost.items(load, cost.Prices()) if item.what.startswith("archive")}

    archive = of(LOAD)
    gigabytes_a_day = 100 * 86_400 * cost.ARCHIVED_KB / 1e6
    stored = archive[f"archive, {gigabytes_a_day * 365:,.0f} GB of storage"]
    assert stored == pytest.approx(gigabytes_a_day * (30 * 0.023 + 335 * 0.004))
    assert archive["archive, retrieval"] == pytest.approx(10 * 0.03)
    # Files of 256 MB: five of AWS and four of each other cloud a day.
    assert archive["archive, requests"] == pytest.approx(13 * 730 / 24 * (0.005 + 0.0004 + 0.02) / 1000, rel=0.01)
    assert of(msgspec.structs.replace(LOAD, archive_days=0)) == {}


def test_more_of_anything_costs_more():
    base = total()
    for change in (
        {"events_per_second": 200},
        {"watchers": 6},
        {"acu": 3},
        {"retention_days": 60},
        {"archive_days": 730},
        {"archive_read_gb": 20},
    ):
        assert total(**change) > base


def test_without_events_only_the_resources_that_always_run_cost_something():
    idle = total(events_per_second=0, watchers=0)
    assert 0 < idle < 400


def test_json_has_every_item(capsys):
    lines = printed(capsys, "--events-per-second", "100", "--json").splitlines()
    assert {json.loads(line)["cloud"] for line in lines} == {"aws", "gcp", "azure"}


def test_the_facts_are_printed_with_their_dates(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    output = printed(capsys, "--events-per-second", "1", "--prices")
    assert "2026-03-13" in output
    assert "from memory" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--events-per-second", "-1"], "--events-per-second must be 0 or larger"),
        (["--events-per-second", "nan"], "--events-per-second must be 0 or larger"),
        (["--events-per-second", "1", "--watchers", "inf"], "--watchers must be 0 or larger"),
        (["--events-per-second", "1", "--share", "aws=100"], "--share must have a percentage for each cloud"),
        (["--events-per-second", "1", "--share", "aws=x,gcp=1,azure=1"], "--share must be like aws=40,gcp=30,azure=30"),
        (["--events-per-second", "1", "--share", "aws=50,gcp=30,azure=30"], "--share must have a percentage for each"),
    ],
)
def test_an_invalid_option_is_named(arguments, message, capsys):
    assert main(["cost", *arguments]) == 2
    assert message in capsys.readouterr().err
