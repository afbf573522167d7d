"""Coverage-guided fuzzing of every decoder, seeded with the golden payloads and limited to a number of runs."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helios.api.webhooks import EXAMPLE_WEBHOOK
from helios.normalise import NORMALISERS

CHANNELS = sorted(NORMALISERS)
RUNS = 200_000
PAYLOADS = Path(__file__).parents[1] / "payloads"
EXTREME_AMOUNTS = [b"1e2000000", b"1e9999999999999999999", b"1e-9999999999999999999", b"1" * 3000]


@pytest.fixture
def corpus(tmp_path):
    """Each golden payload, with and without the headers of CloudEvents, a webhook, and orders with extreme amounts."""
    example = json.dumps(EXAMPLE_WEBHOOK).encode()
    (tmp_path / "webhook").write_bytes(bytes([2 * CHANNELS.index("webhook")]) + example)
    for number, amount in enumerate(EXTREME_AMOUNTS):
        order = (PAYLOADS / "eventbridge" / "order_placed.in.json").read_bytes()
        changed = re.sub(rb'("amount": ?)[0-9.]+', rb"\g<1>" + amount, order)
        assert changed != order
        (tmp_path / f"extreme-{number}").write_bytes(bytes([2 * CHANNELS.index("eventbridge")]) + changed)
    for number, channel in enumerate(CHANNELS):
        for file in (PAYLOADS / channel).glob("*.in.json"):
            for odd in (0, 1):
                (tmp_path / f"{channel}-{file.stem}-{odd}").write_bytes(bytes([2 * number + odd]) + file.read_bytes())
    return tmp_path


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no package for this platform")
def test_no_bytes_make_a_decoder_fail(corpus, tmp_path):
    limits = [f"-runs={RUNS}", "-seed=1", "-max_len=4096", "-timeout=10", "-rss_limit_mb=1024", "-max_total_time=120"]
    fuzzer = [sys.executable, str(Path(__file__).with_name("decoders.py")), *limits, f"-artifact_prefix={tmp_path}/"]

    result = subprocess.run([*fuzzer, str(corpus)], capture_output=True, text=True, timeout=300, check=False)

    assert result.returncode == 0, result.stderr[-3000:]
    assert "Done" in result.stderr
