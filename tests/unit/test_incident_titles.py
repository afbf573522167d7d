"""The title of an incident: its cause in words."""

import pytest

from helios.model.incidents import Cause
from helios.services.incidents import title_of


@pytest.mark.parametrize(
    ("cause", "title"),
    [
        (Cause(kind="flow", flow="order", issue="missing", legs=("payment",)), "order: missing: payment"),
        (
            Cause(kind="flow", flow="order", issue="mismatch", legs=("order", "payment"), field="amount"),
            "order: mismatch: amount of order and payment",
        ),
        (
            Cause(kind="flow", flow="steps", issue="out_of_order", legs=("payment", "packing")),
            "steps: out of order: payment and packing",
        ),
        (Cause(kind="silence", source="aws"), "AWS is silent"),
    ],
)
def test_a_title_has_no_names_of_the_code(cause, title):
    assert title_of(cause) == title
