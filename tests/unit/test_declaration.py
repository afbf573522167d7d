"""Flow declarations: the shipped file is valid, and an error names its line and its key."""

import pytest

from helios.errors import ConfigurationError
from helios.reconciliation.declaration import load

FLOW = """
[[flow]]
name = "order"
key = "order_id"
window_seconds = 30
grace_seconds = 60

[[flow.leg]]
name = "order"
source = "aws"
type = "OrderPlaced"

[[flow.leg]]
name = "payment"
type = "PaymentProcessed"

[[flow.rule]]
equal = ["order.amount", "payment.amount"]
within = "0.01"
"""


@pytest.fixture
def read(tmp_path):
    def read(text: str):
        file = tmp_path / "flows.toml"
        file.write_text(text)
        return load(str(file))

    return read


def test_the_shipped_file_declares_the_order_flow():
    (flow,) = load()
    assert [(leg.name, leg.source, leg.type) for leg in flow.leg] == [
        ("order", "aws", "OrderPlaced"),
        ("payment", "gcp", "PaymentProcessed"),
        ("inventory", "azure", "InventoryReserved"),
    ]
    assert (flow.window_seconds, flow.grace_seconds) == (30, 60)


def test_one_file_may_declare_several_flows(read):
    second = FLOW.replace('name = "order"\nkey', 'name = "other"\nkey')
    assert [flow.name for flow in read(FLOW + second)] == ["order", "other"]


def test_a_file_without_flows_is_allowed(read):
    """Helios then only stores and shows events."""
    assert read("") == ()


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("window_seconds = 30", "window_seconds = 0", 5, "flow[0].window_seconds"),
        ("window_seconds = 30", 'window_seconds = "30"', 5, "flow[0].window_seconds"),
        ("grace_seconds = 60", "grace_secs = 60", 2, "grace_secs"),
        ('source = "aws"', 'source = "ibm"', 10, "flow[0].leg[0].source"),
        ('name = "payment"', 'name = "Payment"', 14, "flow[0].leg[1].name"),
        ('type = "OrderPlaced"\n', "", 8, "type"),
        ('name = "payment"', 'name = "order"', 14, "flow[0].leg[1].name: 'order' is already the name of another leg"),
        ('"PaymentProcessed"', '"OrderPlaced"', 15, "flow[0].leg[1].type: an event of type 'OrderPlaced' could"),
        ('"payment.amount"', '"refund.amount"', 18, "flow[0].rule[0].equal: 'refund.amount': 'refund' is not a leg"),
        ('"payment.amount"', '"payment"', 18, "flow[0].rule[0].equal: 'payment' is not an expression over leg.field"),
        ('within = "0.01"', 'within = "a little"', 19, "within"),
        ('key = "order_id"', "key = order_id", 4, "line 4"),
    ],
)
def test_an_error_names_its_line_and_its_key(read, old, new, line, message):
    assert old in FLOW
    with pytest.raises(ConfigurationError) as error:
        read(FLOW.replace(old, new, 1))
    assert message in str(error.value)
    assert f"line {line}" in str(error.value)


def test_a_missing_file_is_named():
    with pytest.raises(ConfigurationError, match=r"HELIOS_FLOWS_FILE: /nowhere/flows\.toml: No such file"):
        load("/nowhere/flows.toml")
