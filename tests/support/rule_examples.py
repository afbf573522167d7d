"""The example flows of docs/flows.md, and deliveries of their legs."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from helios.model.events import Delivery
from helios.reconciliation.declaration import Flow, load
from tests.support.deliveries import NOON
from tests.support.instances import sent

_DOCUMENT = Path(__file__).parents[2] / "docs/flows.md"
_EXAMPLE = re.compile(r"^### (?P<title>\w+)\n.*?^```toml\n(?P<toml>.*?)^```", re.DOTALL | re.MULTILINE)
_CHANNELS = {"aws": "eventbridge", "gcp": "pubsub", "azure": "eventgrid", None: "eventbridge"}


def example_files() -> dict[str, str]:
    """The TOML of each example by its title in lower case."""
    text = _DOCUMENT.read_text(encoding="utf-8")
    chapter = text[text.index("\n## Rules\n") : text.index("\n## The verdict\n")]
    return {example["title"].lower(): example["toml"] for example in _EXAMPLE.finditer(chapter)}


def example_flows(folder: Path) -> dict[str, Flow]:
    """The flow of each example, read from a file as Helios reads it."""
    flows = {}
    for title, toml in example_files().items():
        file = folder / f"{title}.toml"
        file.write_text(toml)
        (flows[title],) = load(str(file))
    return flows


def part(
    flow: Flow,
    leg: str,
    key: str = "ORD-1",
    *,
    id_: str = "1",
    after: float = 0.0,
    happened_after: float = 0.0,
    start: datetime = NOON,
    **data: Any,
) -> Delivery:
    """A delivery of a leg. It was received, and had happened, these numbers of seconds after the start."""
    declared = next(each for each in flow.leg if each.name == leg)
    return sent(
        _CHANNELS[declared.source],
        declared.type,
        {flow.keys_of(declared)[0]: key} | data,
        id_=f"{key}/{leg}/{id_}",
        received_at=start + timedelta(seconds=after),
        happened_at=start + timedelta(seconds=happened_after),
    )


def moment(seconds: float) -> datetime:
    """A moment after noon."""
    return NOON + timedelta(seconds=seconds)
