"""Coverage-guided fuzzing of every decoder, bounded in runs and seeded: it begins with the golden payloads."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from helios.normalise import NORMALISERS

RUNS = 200_000
PAYLOADS = Path(__file__).parents[1] / "payloads"


@pytest.fixture
def corpus(tmp_path):
    """Each golden payload, with and without CloudEvents' headers."""
    for number, way_in in enumerate(sorted(NORMALISERS)):
        for file in (PAYLOADS / way_in).glob("*.in.json"):
            for odd in (0, 1):
                (tmp_path / f"{way_in}-{file.stem}-{odd}").write_bytes(bytes([2 * number + odd]) + file.read_bytes())
    return tmp_path


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no package for this platform")
def test_no_bytes_surprise_a_decoder(corpus, tmp_path):
    limits = [f"-runs={RUNS}", "-seed=1", "-max_len=4096", "-timeout=10", "-rss_limit_mb=1024", "-max_total_time=120"]
    fuzzer = [sys.executable, str(Path(__file__).with_name("decoders.py")), *limits, f"-artifact_prefix={tmp_path}/"]

    result = subprocess.run([*fuzzer, str(corpus)], capture_output=True, text=True, timeout=300, check=False)

    assert result.returncode == 0, result.stderr[-3000:]
    assert "Done" in result.stderr
