"""The page of guarantees names tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/guarantees.md", "docs/faults.md"])
def test_every_test_that_a_guarantee_names_is_there(page):
    named = set(re.findall(r"`(tests/[\w/.]+)`", (ROOT / page).read_text(encoding="utf-8")))

    assert named
    assert {name for name in named if not (ROOT / name).exists()} == set()
