"""The documents name only tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/guarantees.md", "docs/faults.md"])
def test_every_test_that_a_document_names_exists(page):
    paths = set(re.findall(r"`(tests/[\w/.]+)`", (ROOT / page).read_text(encoding="utf-8")))

    assert paths
    assert {path for path in paths if not (ROOT / path).exists()} == set()
