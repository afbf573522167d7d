"""The table of flow instances is readable in a terminal of 80 columns."""

from datetime import UTC, datetime
from decimal import Decimal

from helios.cli import tables
from helios.model.flows import FlowInstance, FlowIssue

OPENED = datetime(2026, 1, 31, 12, tzinfo=UTC)


def instance(key: str, *details: str) -> FlowInstance:
    return FlowInstance(
        flow="order",
        key=key,
        status="mismatched",
        amount=Decimal("1474.9"),
        currency="EUR",
        opened_at=OPENED,
        deadline=OPENED,
        settled_at=OPENED,
        updated_at=OPENED,
        time_to_match_seconds=None,
        legs=[],
        issues=[FlowIssue(kind="mismatch", legs=["order"], field=None, values={}, detail=text) for text in details],
    )


def test_each_issue_has_a_line_of_its_own(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    issue = "amount: AWS ordered 1474.9, GCP charged 1474.65"
    tables.show(tables.flows([instance("ORD-1795919577197-3084", issue, "late"), instance("ORD-2")]))

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "opened                flow   key                     status      amount",
        "2026-01-31T12:00:00Z  order  ORD-1795919577197-3084  mismatched  1474.9 EUR",
        f"  {issue}",
        "  late",
        "2026-01-31T12:00:00Z  order  ORD-2                   mismatched  1474.9 EUR",
    ]
