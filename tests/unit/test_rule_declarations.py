"""The error of a wrong rule names its line, its key, the leg, and what to do."""

from decimal import Decimal

import pytest

from helios.errors import ConfigurationError
from helios.reconciliation.declaration import load
from helios.reconciliation.expression import Aggregate, ExpressionError, Field, Number, Operation, parse
from tests.support.rule_examples import example_files

FILES = example_files()


@pytest.fixture
def read(tmp_path):
    def read(text: str):
        file = tmp_path / "flows.toml"
        file.write_text(text)
        return load(str(file))

    return read


@pytest.mark.parametrize("title", list(FILES))
def test_each_example_is_valid(read, title):
    assert [flow.name for flow in read(FILES[title])] == ["readings" if title == "sequences" else title]


@pytest.mark.parametrize(
    ("title", "old", "new", "message"),
    [
        ("parcels", 'id = "parcel.number"\n', "", "flow[0].leg[2].many: leg 'shipment': a leg with many = true needs"),
        ("parcels", 'id = "cancellation_id"', 'id = "cancellation_id"\nat_least = 1', "an optional leg has neither"),
        ("parcels", 'many = true\nid = "parcel.number"\n', "", "count: leg 'shipment': only a leg with many"),
        ("parcels", "order.parcels -", "order.parcels+", "put a blank on both sides of +"),
        (
            "parcels",
            "order.parcels - sum(",
            "order.parcels-cancellation.parcels - sum(",
            "put a blank on both sides of - before",
        ),
        (
            "parcels",
            "sum(cancellation.parcels)",
            "sum(cancelled.parcels)",
            "'cancelled' is not a leg of this flow: use",
        ),
        ("parcels", "sum(cancellation.parcels)", "sum(cancellation)", "sum takes a field at character 21: write"),
        ("parcels", "sum(cancellation.parcels)", "count(cancellation.parcels)", "count takes the name of a leg"),
        ("parcels", "sum(cancellation.parcels)", "count(shipment)", "count: leg 'shipment': the number of its parts"),
        ("parcels", "sum(cancellation.parcels)", "sum(cancellation.parcels", "expected ')' at character 41, found"),
        ("parcels", 'count = "', 'at_least = 1\ncount = "', "count is exact: remove at_least and at_most"),
        ("parcels", 'key = ["reference", "order_id"]', "key = []", "flow[0].leg[2].key"),
        (
            "parcels",
            '["order", "shipment"]',
            '["order", "parcel"]',
            "rule[1].before: 'parcel' is not a leg of this flow",
        ),
        ("parcels", '["order", "shipment"]', '["order", "order"]', "rule[1].before: names a leg twice"),
        ("parcels", "skew_seconds = 2", 'within = "2"', "rule[1].within: belongs to a rule with equal or at_most or"),
        ("refunds", 'unless = ["cancellation"]', 'unless = ["cancelled"]', "leg 'payment': 'cancelled' is not a leg"),
        ("refunds", 'unless = ["cancellation"]', 'unless = ["payment"]', "a leg can't depend on itself: name another"),
        (
            "refunds",
            'at_most = ["sum',
            'equal = ["1", "1"]\nat_most = ["sum',
            "a rule has exactly one of equal, at_most",
        ),
        ("refunds", 'within = "0.01"', 'within = "0,01"', "flow[0].rule[0].within"),
        ("refunds", 'within = "0.01"', "first = 1", "flow[0].rule[0].first: belongs to a rule with sequence"),
        ("instalments", "at_most = 4", "at_most = 64", "must be less than max_evidence, which is 64: raise"),
        ("instalments", "at_most = 4", "at_most = 4\nat_least = 5", "at_most: leg 'payment': must be at least 5"),
        ("instalments", "at_most = 4", "max_evidence = 7", "flow[0].leg[1].max_evidence"),
        ("instalments", '"1"]', '"one"]', "expected leg.field, a number or a function at character 1, found 'one'"),
        ("instalments", '"min(payment.amount)", "1"', '"2", "1"', "both sides are numbers: read a leg on one side"),
        ("currencies", '"order.currency"', '"Euro"', "'Euro' must be a code such as EUR, or leg.field"),
        ("currencies", '"order.currency"', '"sum(order.amount)"', "must be a code such as EUR, or leg.field"),
        ("currencies", 'currency = "currency"\n', "", "no leg of the rule says its currency: add currency ="),
        ("currencies", "since = 2025-11-26\n", "", "rate[1]: another rate from USD to EUR without a date is declared"),
        ("currencies", "since = 2025-11-26\n", 'since = "soon"\n', "rate[1].since"),
        ("currencies", 'to = "EUR"', 'to = "USD"', "rate[0].to: must be another currency than USD"),
        ("currencies", 'rate = "0.90"', 'rate = "0.0"', "rate[0].rate: must be more than 0"),
        ("currencies", 'rate = "0.90"', "rate = 0.90", "rate[0].rate"),
        ("sequences", '"reading.number"', '"sum(reading.number)"', "must be leg.field of a leg with many = true: use"),
        ("sequences", '"reading.number"', '"reading"', "is not an expression over leg.field, where leg is"),
        ("sequences", "sequence =", "sequenze =", "flow[0].rule[0]"),
    ],
)
def test_an_error_says_where_and_what_to_do(read, title, old, new, message):
    assert old in FILES[title]
    changed = FILES[title].replace(old, new)
    with pytest.raises(ConfigurationError) as error:
        read(changed)
    assert message in str(error.value)
    assert "flows.toml, line " in str(error.value)


def test_a_rate_belongs_to_every_flow_of_the_file(read):
    other = FILES["currencies"].partition("[[rate]]")[0].replace('name = "currencies"', 'name = "other"')
    first, second = read(other + FILES["currencies"])
    assert first.rate == second.rate
    assert [rate.rate for rate in first.rate] == ["0.90", "0.92"]


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("order.amount", Field("order", "amount")),
        ("order.total-amount", Field("order", "total-amount")),
        ("order.total amount", Field("order", "total amount")),
        ("12.50", Number(Decimal("12.50"))),
        ("count(shipment)", Aggregate("count", "shipment", "")),
        ("sum( shipment.line.quantity )", Aggregate("sum", "shipment", "line.quantity")),
        (
            "order.a - max(b.c) + 1",
            Operation(Operation(Field("order", "a"), -1, Aggregate("max", "b", "c")), 1, Number(Decimal(1))),
        ),
        ("1 - (2 - a.b)", Operation(Number(Decimal(1)), -1, Operation(Number(Decimal(2)), -1, Field("a", "b")))),
    ],
)
def test_an_expression_has_this_meaning(text, expression):
    assert parse(text) == expression


@pytest.mark.parametrize(
    "text",
    ["", " ", "order", "order.", ".amount", "a..b", "a.b +", "+ a.b", "a.b c.d + 1", "(a.b", "a.b)", "sum()", "sum(1)",
     "count()", "count(+)", "avg(a.b)", "a.b * 2", "1 2", "a.b + + 1", "()", "1e5", "-1", "__import__('os')"],
)  # fmt: skip
def test_other_texts_are_no_expressions(text):
    with pytest.raises(ExpressionError):
        parse(text)
