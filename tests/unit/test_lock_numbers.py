"""Advisory locks of Postgres: each kind of work has a number of its own."""

import re
from collections import Counter
from pathlib import Path

from helios.adapters import postgres

LOCK = re.compile(r"\b4_?869_?532_?\d{3}\b")


def test_no_two_kinds_of_work_share_an_advisory_lock():
    """Otherwise one of them does nothing while the other works, or waits for it."""
    modules = Path(postgres.__file__).parent.glob("*.py")
    numbers = Counter(number.replace("_", "") for module in modules for number in LOCK.findall(module.read_text()))

    assert len(numbers) > 1
    assert [number for number, uses in numbers.items() if uses > 1] == []
