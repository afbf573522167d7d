"""The queries of Grafana's dashboards in infra/grafana."""

import json
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parents[2] / "infra/grafana"


class Query(NamedTuple):
    """A query of a panel.

    Attributes:
        name: the dashboard, the panel, and the query within the panel.
        expression: in PromQL, with Grafana's variables.
        legend: the template of a series' name.
    """

    name: str
    expression: str
    legend: str


def dashboards() -> dict[str, Any]:
    """Each dashboard by the name of its file."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def queries() -> list[Query]:
    """Each query of each panel."""
    return [
        Query(f"{name}: {panel['title']} {target['refId']}", target["expr"], target["legendFormat"])
        for name, dashboard in dashboards().items()
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]
