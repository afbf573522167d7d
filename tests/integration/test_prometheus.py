"""The metrics of a real API in a real Prometheus: the alerting rules, and every panel of Grafana's dashboards."""

import json
import re
import shutil
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from helios.processes.ports import free_port
from local.servers.prometheus import Prometheus
from tests.support import grafana
from tests.support.api import Api
from tests.support.client import EVENTBRIDGE, EVENTGRID, JSON, call
from tests.support.deliveries import poison
from tests.support.instances import leg
from tests.support.waiting import awaited, eventually

PROMETHEUS = Path(__file__).parents[2] / "infra/prometheus"
PATHS = {"eventbridge": EVENTBRIDGE, "eventgrid": EVENTGRID, "cloudevents": "/api/v1/webhooks/cloudevents"}
SETTINGS = {
    "HELIOS_TRUST_LOOPBACK": "true",
    "HELIOS_WEBHOOK_AUTH": "eventbridge=key",
    "HELIOS_EVENTBRIDGE_SECRET": "an-eventbridge-secret",
    "HELIOS_KAFKA_BROKERS": "127.0.0.1:9",  # expects a consumer, which never runs
}
PANELS = [pytest.param(query.expression, query.legend, id=query.name) for query in grafana.queries()]


def promtool(*arguments: str, text: str | None = None) -> None:
    """Run promtool in the folder of the rules; it has to find nothing."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: Debian's package prometheus has it")
    done = subprocess.run(
        [program, *arguments],
        cwd=PROMETHEUS,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts.test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ],
    ids=" ".join,
)
def test_promtool_accepts_the_rules_and_the_configuration(arguments):
    promtool(*arguments)


@pytest.fixture(scope="module")
def api(empty_database_url, valkey_server, server_folder) -> Iterator[Api]:
    """An API with a matched and a mismatched order, a dead letter and a refused request."""
    log = server_folder / "api-of-prometheus.log"
    notifications = server_folder / "notifications-of-prometheus.toml"
    notifications.write_text('[[receiver]]\nname = "ops"\nkind = "webhook"\nurl = "http://127.0.0.1:9/hook"\n')
    settings = SETTINGS | {
        "HELIOS_NOTIFICATIONS_FILE": str(notifications),
        "HELIOS_NOTIFICATION_SECRETS": f"ops=whsec_{b64encode(bytes(24)).decode()}",
    }
    with Api(database_url=empty_database_url, redis_url=valkey_server.url, log=log, webhook_auth=settings) as running:
        send(running)
        assert call(running.url, EVENTBRIDGE, b"{}", {"x-helios-key": "another-secret-of-20"}).status == 401
        yield running


def send(api: Api) -> None:
    """Send two orders and an unreadable delivery."""
    legs = [leg(name) for name in ("order", "payment", "inventory")]
    for delivery in [*legs, leg("order", "ORD-2"), leg("payment", "ORD-2", amount=1), poison()]:
        call(api.url, PATHS[delivery.channel], delivery.body, JSON | dict(delivery.headers))


def test_promtool_accepts_the_metrics_of_a_real_api(api):
    with urllib.request.urlopen(f"{api.url}/metrics") as response:
        promtool("check", "metrics", text=response.read().decode())


@pytest.fixture(scope="module")
def prometheus(api, server_folder) -> Iterator[Prometheus]:
    """A Prometheus that has scraped the API a few times, also while deliveries arrived."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed: Debian's package prometheus has it")
    with Prometheus(
        server_folder / "prometheus",
        free_port(),
        target=urlsplit(api.url).netloc,
        log=server_folder / "prometheus.log",
    ) as server:
        eventually(lambda: has_series(server, 'count_over_time(up{job="helios"}[1m]) >= 2'))
        send(api)
        eventually(lambda: has_series(server, 'changes(helios_batch_seconds_count{job="helios"}[1m]) >= 1'))
        yield server


def query(server: Prometheus, expression: str) -> list[dict[str, Any]]:
    """The series that an expression gives now."""
    with urllib.request.urlopen(f"{server.url}/api/v1/query?{urlencode({'query': expression})}") as response:
        result: list[dict[str, Any]] = json.load(response)["data"]["result"]
    return result


def has_series(server: Prometheus, expression: str) -> bool:
    return bool(query(server, expression))


@pytest.mark.parametrize(("expression", "legend"), PANELS)
def test_a_panel_shows_series_with_the_labels_of_its_legend(prometheus, expression, legend):
    # There is none after a scrape that has taken too long.
    series = awaited(lambda: query(prometheus, expression.replace("$__rate_interval", "1m")))
    labels = set(re.findall(r"\{\{(\w+)\}\}", legend))
    assert all(labels <= set(one["metric"]) for one in series)


def test_an_api_that_is_scraped_loads_every_rule_and_raises_no_alert_about_the_scrape(prometheus):
    def rules() -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{prometheus.url}/api/v1/rules") as response:
            (group,) = json.load(response)["data"]["groups"]
        found: list[dict[str, Any]] = group["rules"]
        return found

    eventually(lambda: {rule["health"] for rule in rules()} == {"ok"})
    eventually(lambda: {rule["name"]: rule["state"] for rule in rules()}["HeliosNotScraped"] == "inactive")
