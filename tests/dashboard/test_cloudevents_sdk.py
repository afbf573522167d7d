"""CloudEvents of the npm SDK: each becomes one event, in whichever mode it is sent."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.sdk_events import STRINGS, events, in_every_mode, json_values

ROOT = Path(__file__).parents[2]
OBJECTS = st.none() | st.dictionaries(STRINGS, json_values, max_size=4) | st.lists(json_values, max_size=4)
"""Data that the SDK serializes. In binary mode it sends text as it is, because the text may be serialized already."""

EMIT = ROOT / "tests" / "support" / "emit_cloudevents.mjs"


def emitted(sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the SDK sends for each event."""
    process = subprocess.run(
        ["node", EMIT],
        cwd=ROOT / "dashboard",
        input=json.dumps(sent),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(process.stdout)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
@settings(max_examples=3, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(sent=st.lists(st.tuples(events, OBJECTS), min_size=10, max_size=30))
def test_an_event_of_the_npm_sdk_is_the_same_in_every_mode(sent):
    """Also its digest and its attributes. One process of Node.js sends all events of an example."""
    messages = emitted([{**attributes, "data": data} for attributes, data in sent])
    for (attributes, _), message in zip(sent, messages, strict=True):
        structured, batch, binary = in_every_mode(
            *(
                (message[mode]["headers"], (message[mode]["body"] or "").encode(errors="surrogatepass"))
                for mode in ("structured", "binary")
            )
        )

        assert structured == batch == binary
        assert (structured.id, structured.producer, structured.type) == (
            attributes["id"],
            attributes["source"],
            attributes["type"],
        )
